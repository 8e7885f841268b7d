"""The half of the connector in each worker's process: copies between the engine's pages and the node's memory."""
