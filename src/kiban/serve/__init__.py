"""The service: answers HTTP requests with the servable. It does not import scikit-learn, pandas, MLflow or DVC."""
