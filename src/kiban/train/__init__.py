"""Stage train: the model, and the servable made of it."""
