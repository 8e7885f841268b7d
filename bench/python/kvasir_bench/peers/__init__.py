"""The suite ``peers``: the same jobs on Kvasir and on other KV stores, side by side in one run.

Each system is driven by a script in ``drivers/`` that runs in an environment of its own (:mod:`.environments`) and
speaks one line protocol (``drivers/protocol.py``); :mod:`.suite` asks them in turn, round by round.
"""
