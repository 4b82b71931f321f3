"""Tables: their contracts, their batches and Parquet files, the split, and the verdicts of validation."""
