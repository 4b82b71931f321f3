"""Stage train: fits the model and writes its servable."""
