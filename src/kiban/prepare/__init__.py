"""Stage prepare: accepted raw batches to the prepared table."""
