"""Real inference engines on this machine: servers, a tiny model, their own tests, and the demo with them."""
