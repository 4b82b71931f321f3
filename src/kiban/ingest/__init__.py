"""Stage ingest: data/raw is what the ledger says; `kiban ingest` takes new batches into the ledger."""
