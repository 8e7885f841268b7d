"""What connectors of all engines need beside the client: a session, a breaker, a short log, and which weights run."""
