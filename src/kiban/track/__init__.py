"""Stage track: sends runs to MLflow; a run that cannot be sent waits in the outbox."""
