"""Scoring tables: read.py reads rows in pieces, check.py rejects what the endpoint would, write.py writes the files."""
