"""What ``./kvasir test`` runs: every check of the repository, each by its own runner, and one table at the end."""
