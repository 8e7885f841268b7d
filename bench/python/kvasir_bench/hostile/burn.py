"""Burns processor time along a course: one line of JSON on standard input has the seconds used by each interval's end.

A hostile process may have more than one busy thread, so this one forks, and each child burns its share. It ends with
its standard input.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence

CHILDREN = 2
PAUSE_S = 0.002
CHUNK = 2000


def burn(cpu_s: Sequence[float], interval_s: float) -> None:
    """Uses ``cpu_s[n] / CHILDREN`` seconds of the processor up to the end of interval ``n``, or as soon as it can."""
    begin, used = time.monotonic(), time.process_time()
    due, passed = 0.0, 0.0
    while passed < len(cpu_s) or time.process_time() - used < due:
        passed = (time.monotonic() - begin) / interval_s
        at = min(int(passed), len(cpu_s) - 1)
        before = cpu_s[at - 1] if at else 0.0
        due = (before + (cpu_s[at] - before) * min(passed - at, 1.0)) / CHILDREN
        if time.process_time() - used < due:
            for _ in range(CHUNK):
                pass
        else:
            time.sleep(PAUSE_S)


def main() -> None:
    """Runs the course in children, and ends with its input."""
    course = json.loads(sys.stdin.readline())
    for _ in range(CHILDREN - 1):
        if os.fork() == 0:
            break
    threading.Thread(target=_end_with_input, daemon=True).start()
    burn(course["cpu_s"], course["interval_s"])
    sys.stdin.read()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
