"""Helpers that know nothing about data or models: errors, files, git, paths, settings and the cache of results."""
