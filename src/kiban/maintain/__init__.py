"""Maintenance of a repository and its store."""
