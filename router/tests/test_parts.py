"""The router's parts that can be stated for all inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvasir_router import __main__ as command
from kvasir_router.engines import Engine
from kvasir_router.routing_policy import Prompt, answering, choose, choose_prefill
from kvasir_router.settings import EngineSettings, Role, SettingsError
from kvasir_router.sse import WholeEvents

ENDS = (b"\n\n", b"\r\n\r\n")


def engines(roles: list[Role], loads: list[int]) -> list[Engine]:
    return [
        Engine(EngineSettings(url=f"http://e{number}", role=role), tokens=load, picked=number)
        for number, (role, load) in enumerate(zip(roles, loads, strict=True))
    ]


@given(
    st.lists(
        st.tuples(st.binary(max_size=20).filter(lambda b: b"\n" not in b and b"\r" not in b), st.sampled_from(ENDS))
    ),
    st.data(),
)
def test_events_pass_whole_however_the_stream_is_cut_and_wherever_it_breaks(
    parts: list[tuple[bytes, bytes]], data: st.DataObject
) -> None:
    whole = [b"data:" + body + end for body, end in parts]
    stream = b"".join(whole)
    broken_at = data.draw(st.integers(0, len(stream)))
    cuts = sorted(data.draw(st.lists(st.integers(0, broken_at), max_size=8)))
    events = WholeEvents()
    passed = b"".join(events.feed(stream[begin:end]) for begin, end in zip([0, *cuts], [*cuts, broken_at], strict=True))
    complete = 0
    while complete < len(whole) and sum(map(len, whole[: complete + 1])) <= broken_at:
        complete += 1
    assert passed == b"".join(whole[:complete])
    assert passed + events.rest() == stream[:broken_at]


@given(
    st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=1, max_size=6),
    st.integers(1, 5000),
    st.floats(0, 10),
)
def test_no_engine_costs_less_than_the_chosen_one(engines_: list[tuple[int, int]], tokens: int, weight: float) -> None:
    candidates = engines([Role.BOTH] * len(engines_), [load for load, _ in engines_])
    prompt = Prompt(tokens, {engine: held for engine, (_, held) in zip(candidates, engines_, strict=True)})
    chosen = choose(candidates, prompt, weight)
    assert chosen is not None
    costs = [max(tokens - held, 0) + weight * load for load, held in engines_]
    assert prompt.lacking(chosen) + weight * chosen.tokens == min(costs)


def test_among_equals_the_one_that_waited_longest_is_next() -> None:
    candidates = engines([Role.BOTH] * 3, [0, 0, 0])
    candidates[0].picked = 9
    assert choose(candidates, Prompt(10, {}), 0.1) is candidates[1]


@given(st.lists(st.sampled_from(list(Role)), min_size=1, max_size=5), st.integers(0, 2000))
def test_a_prefill_engine_answers_only_when_there_is_no_other(roles: list[Role], tokens: int) -> None:
    candidates = engines(roles, [0] * len(roles))
    answer = choose(answering(candidates), Prompt(tokens, {}), 0.1)
    assert answer is not None
    assert answer.role is not Role.PREFILL or set(roles) == {Role.PREFILL}
    prefill = choose_prefill(candidates, answer, Prompt(tokens, {}), 256, 0.1)
    if prefill is not None:
        assert (prefill.role, answer.role) == (Role.PREFILL, Role.DECODE)
        assert tokens >= 256


def test_flags_win_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "router.yaml"
    file.write_text("listen: 127.0.0.1:1\nprefill_min_tokens: 7\nengines:\n  - url: http://a:1/\n")
    given_ = command.parser().parse_args(
        ["--config", str(file), "--listen", "[::1]:2", "--engine", "http://b:2,role=decode,node=/n.sock,node-name=n"]
    )
    settings = command.settings_of(given_)
    assert (settings.host, settings.port, settings.prefill_min_tokens) == ("::1", 2, 7)
    assert settings.engines == (
        EngineSettings(url="http://b:2", role=Role.DECODE, node=Path("/n.sock"), node_name="n"),
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("engines: []", "at least one engine"),
        ("engines:\n  - url: a:1", "http://"),
        ("engines:\n  - url: http://a\n  - url: http://a/", "the same url twice: http://a"),
        ("engines:\n  - url: http://a\n    rôle: decode", "engines.0.rôle: there is no such setting"),
        ("engines:\n  - url: http://a\ntimeouts:\n  total: 0", "timeouts.total"),
        ("engines:\n  - url: http://a\nlisten: 80", "listen"),
        ("- a", "must be a mapping"),
        ("a: [", "router.yaml"),
    ],
)
def test_settings_that_cannot_be_used_are_named(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "router.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError, match=complaint.replace(".", r"\.")):
        command.settings_of(command.parser().parse_args(["--config", str(file)]))


@pytest.mark.parametrize("flags", [["--engine", "http://a,decode"], [], ["--config", "/nowhere/router.yaml"]])
def test_the_command_says_what_is_wrong_and_ends_with_2(flags: list[str]) -> None:
    run = subprocess.run([sys.executable, "-m", "kvasir_router", *flags], capture_output=True, text=True, timeout=60)
    assert run.returncode == 2
    assert run.stderr.startswith("kvasir router: ")
    assert "Traceback" not in run.stderr
