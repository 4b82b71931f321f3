"""What a model is asked for: the metrics of each task, and which way each is better."""
