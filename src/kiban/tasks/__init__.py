"""The tasks of a model: what its target is, its metrics, and the baseline that it must beat."""
