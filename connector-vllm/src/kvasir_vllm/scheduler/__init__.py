"""The half of the connector in the scheduler's process: what is looked up, loaded and stored for which request."""
