"""The sources of raw batches: a module for each kind, and kinds.py, which lists the kinds."""
