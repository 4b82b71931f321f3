"""The servable over HTTP, one file a concern. Nothing here imports scikit-learn, pandas, MLflow or DVC."""
