"""Stages validate_raw and validate_prepared: every batch against its contract."""
