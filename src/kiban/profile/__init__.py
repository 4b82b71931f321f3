"""A table to its configuration and contract: `kiban init`."""
