"""Typed settings, one module a section of params.yaml, so that a stage depends on the sections that it reads."""
