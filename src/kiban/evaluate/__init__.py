"""Stage evaluate: what the servable is worth, and what is good enough."""
