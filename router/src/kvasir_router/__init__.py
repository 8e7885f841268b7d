"""``kvasir router``: an OpenAI-compatible front for several engines.

It sends each request to the engine that can answer it soonest: by health, by load, and by how much of the prompt lies
on the engine's node already. Where there are prefill and decode engines it pairs them. It knows engines by HTTP alone,
so it works with engines that have no Kvasir too: then it balances.
"""
