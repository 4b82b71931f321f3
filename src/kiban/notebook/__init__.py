"""Versions of the repository in notebooks and scripts: `kiban.open`."""
