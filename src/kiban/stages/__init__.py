"""One thin module a DVC stage: read, call, write. dvc.yaml shows how they hang together."""
