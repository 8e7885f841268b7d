"""The suite ``vllm``: the connector inside real vLLM engines on this machine's CPU."""
