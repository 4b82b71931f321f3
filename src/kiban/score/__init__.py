"""Rows in bulk: read.py reads them in pieces, check.py refuses what the endpoint would, write.py writes whole files."""
