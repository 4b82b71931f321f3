"""Kiban (基盤, "foundation"): the machine-learning platform for a team that has none."""
