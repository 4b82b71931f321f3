"""Versions of the model, what is promoted, and what happens to it afterwards."""
