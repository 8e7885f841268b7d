"""A campaign of kills: what it keeps, how it goes on, and what one kill that cannot run costs."""

import json
from pathlib import Path
from typing import ClassVar

import pytest

from kvasir_bench import campaign as campaigns
from kvasir_bench import restart
from kvasir_bench.campaign import Campaign, Kill
from kvasir_bench.context import Context
from kvasir_bench.records import Record


def a_kill(**changes: int) -> Kill:
    kill = Kill(acknowledged_before=10, expected_ssd=3, hits=100, first_hit_s={"dram": 0.5, "ssd": 0.75}, seconds=4.25)
    for name, value in changes.items():
        setattr(kill, name, value)
    return kill


def test_a_campaign_goes_on_with_the_kills_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "state"
    first = Campaign(file)
    first.begin(7, "abc", 0.9)
    first.add(a_kill(lost_ssd=2))
    first.add_failure("NodeError: it hangs")
    first.close()
    second = Campaign(file)
    assert (second.kills, second.failures) == ([a_kill(lost_ssd=2)], ["NodeError: it hangs"])
    second.begin(8, "def", 1.1)
    second.add(a_kill(late=1))
    second.close()
    third = Campaign(file)
    third.close()
    assert [(part.seed, part.commit, part.empty_start_s, part.kills) for part in third.parts] == [
        (7, "abc", 0.9, 1),
        (8, "def", 1.1, 1),
    ]
    assert "hits 200, lost 2, wrong 0, evicted untold 0, late 1, slowest first hit 0.75 s" in third.summary()


def test_a_line_that_an_interruption_tore_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "state"
    first = Campaign(file)
    first.begin(7, "abc", 0.9)
    first.add(a_kill())
    first.add(a_kill())
    first.close()
    file.write_bytes(file.read_bytes()[:-10])
    second = Campaign(file)
    assert len(second.kills) == 1
    second.add(a_kill())
    second.close()
    third = Campaign(file)
    third.close()
    assert len(third.kills) == 2


@pytest.mark.parametrize("text", ["[1]\n", "{}\n", "hello\n", '{"kill": {"acknowledged_before": 1}}\n'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "state"
    file.write_text(text)
    with pytest.raises(ValueError, match="not the state of a campaign: line 1"):
        Campaign(file)
    assert file.read_text() == text


def test_records_are_over_all_kills(tmp_path: Path) -> None:
    campaign = Campaign(None)
    campaign.begin(7, "abc", 0.9)
    campaign.add(a_kill(lost_newest=1, evicted_untold=5, wrong=3))
    campaign.begin(8, "abc", 1.1)
    campaign.add(a_kill(damaged=1, wrong_under_load=4, late=2))
    slow = a_kill()
    slow.first_hit_s = {"dram": 2.5}
    campaign.add(slow)
    hit, lost, wrong = campaigns.records(campaign)
    assert (hit.value, hit.reference_value) == (2.5, 1.0)
    assert (lost.value, wrong.value, lost.reference_value) == (2.0, 7.0, 301.0)
    assert (lost.extra["evicted_untold"], lost.extra["late"], len(lost.extra["each"])) == (5, 2, 3)
    for item in (hit, lost, wrong):
        assert (item.extra["kills"], item.extra["unproved"], item.extra["could_not_run"]) == (3, 1, 0)
        json.dumps(item.to_json())


class _Test:
    """Stands for a node and its load; every third kill cannot run."""

    made: ClassVar[list[int]] = []
    count = 0
    broken = False

    def __init__(self, home: Path, directory: Path, shared_memory: Path, seed: int) -> None:
        assert directory.is_dir()
        assert shared_memory.is_dir()
        _Test.made.append(seed)

    def start(self) -> float:
        return 0.5

    def kill(self) -> Kill:
        _Test.count += 1
        if _Test.broken or _Test.count % 3 == 0:
            raise OSError("the node does not start")
        return a_kill()

    def close(self) -> None:
        pass


def context(tmp_path: Path, kills: int, resume: Path | None) -> Context:
    for name in ("disk", "shm"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Context(tmp_path, 1, 100, kills, False, tmp_path / "disk", tmp_path / "shm", lambda text: None, {}, resume)


def run(given: Context, monkeypatch: pytest.MonkeyPatch, broken: bool = False) -> list[Record]:
    monkeypatch.setattr(restart, "KillTest", _Test)
    _Test.made, _Test.count, _Test.broken = [], 0, broken
    return list(restart.run(given))


def test_a_kill_that_cannot_run_loses_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context(tmp_path, 7, tmp_path / "state")
    _, lost, _ = run(given, monkeypatch)
    assert (lost.extra["kills"], lost.extra["could_not_run"]) == (7, 3)
    assert len(given.skipped) == 3
    assert len(_Test.made) == len(set(_Test.made)) == 4
    again = context(tmp_path, 9, tmp_path / "state")
    _, lost, _ = run(again, monkeypatch)
    assert (lost.extra["kills"], _Test.count, len(lost.extra["parts"])) == (9, 2, 5)
    done = context(tmp_path, 9, tmp_path / "state")
    assert run(done, monkeypatch)[1].extra["kills"] == 9
    assert _Test.count == 0


def test_a_campaign_gives_up_when_nothing_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = context(tmp_path, 7, None)
    records = run(given, monkeypatch, broken=True)
    assert _Test.count == restart.FAILURES_IN_A_ROW
    assert [item.id for item in records] == ["restart.lost", "restart.wrong"]
    assert given.skipped
