"""Two versions of the repository beside each other: their data, parameters, metrics and models."""
