"""Where raw batches come from: one module a kind, and kinds.py, which lists them."""
