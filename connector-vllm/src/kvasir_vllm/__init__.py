"""Kvasir for vLLM."""
