"""What a table is: its contract, its batches and their Parquet files, the split, and the verdicts on it."""
