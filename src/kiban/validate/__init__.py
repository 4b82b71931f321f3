"""Stages validate_raw and validate_prepared: check every batch against its contract."""
