"""What keeps a repository and its store in order."""
