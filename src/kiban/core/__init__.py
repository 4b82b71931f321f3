"""What knows nothing of data or models: errors, files, git, paths, settings, and the helper cache."""
