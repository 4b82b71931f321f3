"""Stage prepare: computes the prepared table from the accepted raw batches."""
