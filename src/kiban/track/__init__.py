"""Stage track: runs go to MLflow, if MLflow takes them."""
