"""MLflow, never in the way: a run is put into an outbox, and from there delivered if MLflow takes it."""
