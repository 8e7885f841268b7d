"""One rank of two: a process that the tests of tensor parallelism start. Reads steps from its input, answers in JSON.

Arguments: rank, socket, file of the process group's store, 1 for a model whose KV is the same on all ranks, 1 for the
cache linker instead of the HiCache storage.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from array import array
from typing import Any

os.environ["KVASIR_TEST_STORE"] = sys.argv[3]

from controller import Engine, parallel
from linked import LinkedEngine


def digest(pages: list[bytes]) -> list[str]:
    """Short names for pages."""
    return [hashlib.sha256(page).hexdigest()[:16] for page in pages]


def main() -> None:
    """Runs until the input ends."""
    rank, socket, mla = int(sys.argv[1]), sys.argv[2], sys.argv[4] == "1"
    parallel(rank, 2)
    kind: Any = LinkedEngine if sys.argv[5] == "1" else Engine
    engine = kind(socket, mla=mla, load_deadline_ms=5000, store_deadline_ms=5000, exists_deadline_ms=2000)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        step, seed, pages = json.loads(line)
        generator = random.Random(seed)
        prompt = array("q", (generator.getrandbits(31) for _ in range(pages * engine.page)))
        answer: Any
        if step == "backup":
            stored, wanted = engine.backup(prompt)
            answer = [stored, digest(wanted)]
        elif step == "prefetch":
            answer = digest(engine.prefetch(prompt))
        else:
            answer = engine.storage.batch_exists(["00" * 32])
        print(json.dumps(answer), flush=True)
    engine.close()


if __name__ == "__main__":
    main()
