"""Stage config: params.yaml is valid, and composed from conf/ as it is now."""
