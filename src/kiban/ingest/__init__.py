"""Stage ingest: makes data/raw match the ledger. `kiban ingest` adds new batches to the ledger."""
