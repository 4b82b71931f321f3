"""Comparing two versions of the repository: their data, parameters, metrics and models."""
