"""The parts of the hostile campaign that need no node: the memory budget, what good clients tell, and the control."""

import os
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from kvasir_ops import home

from kvasir_bench.hostile.budget import FIXED_MIB, budget, resident
from kvasir_bench.hostile.processes import Burner, Line, Programs
from kvasir_bench.hostile.suite import Slices

LINE = (
    '{"begin":1.5,"end":2.0,"incarnation":"00ff","micros":{"PING":[100,300],"LOOKUP":[2000]},'
    '"counts":{"HIT":8},"violations":["wrong \\u0022bytes\\u0022"]}'
)


def test_the_budget_is_the_sum_of_the_limits_with_which_a_node_is_started(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    flags = "-Xmx1g\n-Xss512k\n-XX:MaxMetaspaceSize=96m\n-XX:ReservedCodeCacheSize=48m\n"
    (tmp_path / "ops" / "node.jvm.args").write_text(flags)
    assert budget(tmp_path).mib == 1024 + 96 + 48 + 32 + sum(FIXED_MIB.values())
    assert budget(home()).mib < 1024


def test_a_node_without_a_limit_has_no_budget(tmp_path: Path) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "node.jvm.args").write_text("-Xss512k\n")
    with pytest.raises(ValueError, match="-Xmx"):
        budget(tmp_path)


def test_resident_memory_is_read_without_shared_memory() -> None:
    own = resident(os.getpid())
    assert own.anonymous > 0
    assert own.mib == pytest.approx((own.anonymous + own.file) / (1 << 20))


def test_lines_of_good_clients_add_up() -> None:
    line = Line.parse(LINE)
    assert line.violations == ['wrong "bytes"']
    slices = Slices()
    slices.add(line)
    slices.add(line)
    assert sorted(slices.times()) == [0.1, 0.1, 0.3, 0.3, 2.0, 2.0]
    assert slices.counts == Counter(HIT=16)
    assert slices.figures()["max_ms"] == 2.0
    assert slices.figures()["calls"] == 6


@pytest.mark.skipif("KVASIR_BUILD" not in os.environ, reason="run by ./kvasir test, which builds the Java programs")
def test_the_control_uses_the_processor_as_it_is_told_and_ends(tmp_path: Path) -> None:
    with ExitStack() as stack:
        burner = Burner(Programs(home(), tmp_path), 2, [0.5, 1.5], 0.5)
        stack.callback(burner.kill)
        end = time.monotonic() + 60
        while burner.cpu_s() < 1.5 and time.monotonic() < end:
            time.sleep(0.01)
        assert burner.cpu_s() >= 1.5
    assert burner.cpu_s() == 0.0
