"""The command as users run it: a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from test_front import ask
from upstreams import Upstream, until

Start = Callable[..., Upstream]


@contextmanager
def command(log: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The router in a process of its own, and where it listens."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "kvasir_router", "--listen", "127.0.0.1:0", *flags],
            stderr=output,
            start_new_session=True,
        )
    try:

        def listens() -> bool:
            assert process.poll() is None, log.read_text()
            return "running on" in log.read_text()

        until(listens, "it listens", 60)
        found = re.search(r"http://127\.0\.0\.1:\d+", log.read_text())
        assert found
        yield process, found.group()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_it_serves_and_ends_in_order(engine: Start, tmp_path: Path) -> None:
    hold = threading.Event()
    one = engine("one", hold=hold)
    got: list[httpx.Response] = []
    with command(tmp_path / "log", "--engine", one.url) as (process, url):
        until(lambda: httpx.get(f"{url}/health").status_code == 200, "the engine is up")
        asking = threading.Thread(target=lambda: got.append(ask(url)))
        asking.start()
        until(lambda: len(one.seen) == 1, "the request is under way")
        process.send_signal(signal.SIGTERM)
        hold.set()
        asking.join(10)
        assert process.wait(10) in (0, -signal.SIGTERM)
    assert got[0].status_code == 200
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_an_engine_killed_in_the_middle_of_a_stream_is_an_error_event(tmp_path: Path) -> None:
    script = (
        "import sys, threading; sys.path.insert(0, sys.argv[1])\n"
        "from upstreams import Upstream\n"
        "print(Upstream('one', pieces=3, hang_after=2).start().url, flush=True); threading.Event().wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parent)], stdout=subprocess.PIPE, text=True
    ) as upstream:
        assert upstream.stdout is not None
        engine_url = upstream.stdout.readline().strip()
        try:
            with command(tmp_path / "log", "--engine", engine_url) as (_, url):
                until(lambda: httpx.get(f"{url}/health").status_code == 200, "the engine is up")
                asked = {"model": "tiny", "prompt": "x", "stream": True}
                with httpx.stream("POST", f"{url}/v1/completions", json=asked, timeout=20) as response:
                    pieces = response.iter_text()
                    seen = ""
                    while '"piece": 1' not in seen:
                        seen += next(pieces)
                    upstream.kill()
                    seen += "".join(pieces)
                assert '"code": "broken_answer"' in seen
                until(lambda: httpx.get(f"{url}/health").status_code == 503, "it is seen to be gone")
        finally:
            upstream.kill()
