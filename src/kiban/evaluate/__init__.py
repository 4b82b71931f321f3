"""Stage evaluate: measures the servable and judges whether it is good enough."""
