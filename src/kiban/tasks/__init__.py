"""The metrics of each task of a model, and whether greater or less is better."""
