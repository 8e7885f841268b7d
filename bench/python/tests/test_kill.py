"""``kill -9`` under load: nothing that was acknowledged or reported durable is lost, and no byte is wrong.

``KVASIR_KILLS`` says how often (3), ``KVASIR_SEED`` repeats a run. ``kvasir bench restart`` runs the same with more.
"""

import os
import random
from contextlib import closing
from pathlib import Path

import pytest

from kvasir_bench.context import temporary_places
from kvasir_bench.restart import KillTest

KILLS = int(os.environ.get("KVASIR_KILLS", "3"))
SEED = int(os.environ.get("KVASIR_SEED", str(random.SystemRandom().randrange(1 << 32))))


@pytest.mark.integration
@pytest.mark.timeout(60 + 40 * KILLS)
def test_nothing_acknowledged_is_lost_over_kills_under_load() -> None:
    print(f"KVASIR_SEED={SEED}")
    home = Path(os.environ.get("KVASIR_HOME", Path(__file__).parents[3]))
    with (
        temporary_places(None) as (directory, shared_memory),
        closing(KillTest(home, directory, shared_memory, SEED)) as test,
    ):
        test.start()
        for number in range(KILLS):
            kill = test.kill()
            seen = f"kill {number + 1} of {KILLS}, seed {SEED}: {kill.as_json()}"
            assert kill.acknowledged_before > 0, seen
            assert kill.wrong == 0, seen
            assert kill.lost_dram == 0, seen
            assert kill.lost_ssd == 0, seen
            assert kill.damaged == 0, seen
            assert "dram" in kill.first_hit_s, seen
            assert "ssd" in kill.first_hit_s or kill.expected_ssd == 0, seen
            assert test.wrong_under_load.value == 0, seen
