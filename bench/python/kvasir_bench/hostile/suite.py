"""The suite ``hostile``: engines that break every rule attack a node while good clients use it.

Slices of an attack and of a control take turns, so that the machine's noise meets both. In a slice of the attack three
processes run the strategies of the node's fuzz test with sizes from a seed, and are ended by ``kill -9``; in one of the
control as many JVMs use as much of the processor at the same times, and do not talk to the node. Two good clients
run all the time: one is a tenant of its own, the other shares a tenant with two of the hostile processes. The third
hostile process is alone in its tenant, because it damages the memory that all engines of a tenant share.

What must hold is counted as violations: the node lives, in its first incarnation and within its memory budget; each
call of a good client is answered within its deadline, with the bytes that it stored, and with no error that the engine
API does not allow; and when the hostile processes are gone, so are their connections, held requests, leases and slots.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from rich.markup import escape

from kvasir_bench.context import Context
from kvasir_bench.hostile.budget import MIB, Budget, Resident, budget
from kvasir_bench.hostile.processes import HEAP, Burner, GoodClient, HostileProcess, Line, Programs
from kvasir_bench.hostile.target import TOKENS, Target
from kvasir_bench.records import Record, at_most, percentile, record

DEADLINE_MS = 5000
INTERVAL_S = 0.25
PROGRESS_S = 10.0
WARM_UP_S = 5.0
SETTLED_BOUND_S = 30.0
LONGEST_SLICE_S = 30.0
FEWEST_SLICES = 4
ALWAYS = ("LOOKUP", "PING")
"""Calls that wait for nothing, so that their times say how busy the node is."""

DAMAGING = ("TRUNCATED_REGIONS", "PUNCHED_HOLES")
HOSTILE = ("shared", "shared", "damaged")
"""The tenant of each hostile process."""

THREADS = 2
"""Of each."""

SHOWN = 20


@dataclass
class Slices:
    """What the good clients did in all slices of one kind."""

    micros: dict[str, list[int]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        """Takes a line in."""
        for kind, values in line.micros.items():
            self.micros.setdefault(kind, []).extend(values)
        self.counts.update(line.counts)

    def times(self, kinds: Sequence[str] = ALWAYS) -> list[float]:
        """Milliseconds of all calls of these kinds."""
        return [micros / 1000 for kind in kinds for micros in self.micros.get(kind, [])]

    def figures(self) -> dict[str, float]:
        """The distribution, for the record."""
        times = self.times()
        if not times:
            return {}
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
        found = {f"{name}_ms": round(percentile(times, share), 3) for name, share in shares.items()}
        return found | {"max_ms": round(max(times), 3), "calls": len(times)}


class Campaign:
    """One node, its good clients, and the slices."""

    def __init__(self, context: Context, stack: ExitStack) -> None:
        self._context = context
        self._programs = Programs(context.home, context.directory)
        self._target = stack.enter_context(closing(Target(context)))
        self._stack = stack
        self.budget: Budget = budget(context.home)
        self.violations: Counter[str] = Counter()
        self.attack, self.control = Slices(), Slices()
        self.most = Resident(0, 0)
        self.hostile_cpu_s = 0.0
        self.calls = 0
        self._lines: SimpleQueue[tuple[str, Line]] = SimpleQueue()
        self._good: list[GoodClient] = []
        self._recent: list[Line] = []
        self._incarnations: set[str] = set()
        self._progress_at = 0.0
        self._log = context.directory / "hostile.log"

    def start(self) -> None:
        """Node and good clients, until they are warm."""
        self._target.start()
        self._say(f"memory budget of the node: {self.budget}")
        for tenant in ("shared", "quiet"):
            arguments = (self._target.socket, TOKENS[tenant], str(DEADLINE_MS), str(self._context.seed))
            client = GoodClient(tenant, self._programs.command("GoodMain", "64m", *arguments), self._lines)
            self._good.append(self._stack.enter_context(closing(client)))
        self._watch(WARM_UP_S, "warm-up", [])
        self._recent.clear()

    def run(self, seconds: float, control: bool) -> None:
        """Attack, and by turns with it a control; ``seconds`` of each. Ends early when the node is gone."""
        count = max(FEWEST_SLICES, round(seconds / LONGEST_SLICE_S))
        for turn in range(count):
            course = self._attack(turn, seconds / count)
            if not self._target.is_alive():
                return
            if control:
                self._control(course, seconds / count)
        self._settle(with_good_clients=True)

    def stop(self) -> None:
        """Ends good clients and node, and looks at what is left."""
        for client in self._good:
            client.close()
        self._take_lines(None)
        if self._target.is_alive():
            self._settle(with_good_clients=False)
        for problem in self._target.stop():
            self._violated(problem)

    def _attack(self, turn: int, seconds: float) -> list[list[float]]:
        processes: list[HostileProcess] = []
        with ExitStack() as stack:
            for index, tenant in enumerate(HOSTILE):
                strategies = _strategies(tenant, self._context.strategies)
                if not strategies:
                    continue
                seed = (self._context.seed * 1000 + turn) * 10 + index
                arguments = (self._target.socket, TOKENS[tenant], str(seed), str(THREADS), *strategies)
                command = self._programs.command("HostileMain", HEAP, *arguments)
                processes.append(HostileProcess(command, self._log))
                stack.callback(processes[-1].kill)
            course = self._watch(seconds, "attack", processes)
            for process in processes:
                if process.failure():
                    self._violated(process.failure())
        if not self._target.is_alive():
            self._violated(f"the node ended: {self._target.end_of_log()}")
            self._say("the last tries:\n" + "\n".join(_tries(self._log)[-SHOWN:]))
        self._take_lines(self.attack)
        self._settle(with_good_clients=True)
        self.hostile_cpu_s += sum(each[-1] for each in course if each)
        return course

    def _control(self, course: list[list[float]], seconds: float) -> None:
        self._take_lines(None)
        with ExitStack() as stack:
            for cpu_s in course:
                burner = Burner(self._programs, THREADS, cpu_s, INTERVAL_S)
                stack.callback(burner.kill)
            self._watch(seconds, "control", [])
        self._take_lines(self.control)

    def _watch(self, seconds: float, what: str, hostile: Sequence[HostileProcess]) -> list[list[float]]:
        """Looks at everything for a time. Returns each hostile process's processor seconds at each interval's end."""
        begin = time.monotonic()
        course: list[list[float]] = [[] for _ in hostile]
        while time.monotonic() - begin < seconds and self._target.is_alive():
            time.sleep(INTERVAL_S)
            for index, process in enumerate(hostile):
                course[index].append(process.cpu_s())
            now = self._target.resident()
            if now is not None and now.mib > self.most.mib:
                self.most = now
            self._drain()
            if time.monotonic() - self._progress_at >= PROGRESS_S:
                self._progress_at = time.monotonic()
                self._say_progress(what, time.monotonic() - begin, seconds, now)
        for client in self._good:
            if not client.is_alive():
                self._violated(f"the good client of tenant {client.name} ended by itself")
        return course

    def _drain(self) -> None:
        while not self._lines.empty():
            name, line = self._lines.get()
            for violation in line.violations:
                self._violated(f"good client of tenant {name}: {violation}")
            if line.incarnation:
                self._incarnations.add(line.incarnation)
            self.calls += sum(map(len, line.micros.values()))
            self._recent.append(line)
        if len(self._incarnations) > 1:
            self._violated(f"the node had {len(self._incarnations)} incarnations")
            self._incarnations = {max(self._incarnations)}

    def _take_lines(self, slices: Slices | None) -> None:
        """The lines of the slice that ends here belong to ``slices``; lines of the time between belong to none."""
        self._drain()
        if slices is not None:
            for line in self._recent:
                slices.add(line)
        self._recent.clear()

    def _settle(self, with_good_clients: bool) -> None:
        """Waits until nothing of the hostile processes is left in the node."""
        left = self._target.left_behind(len(self._good) if with_good_clients else 0)
        end = time.monotonic() + SETTLED_BOUND_S
        while left and self._target.is_alive() and time.monotonic() < end:
            time.sleep(INTERVAL_S)
            left = self._target.left_behind(len(self._good) if with_good_clients else 0)
        if left and self._target.is_alive():
            self._violated(f"{SETTLED_BOUND_S:g} s after the end of the hostile processes: {', '.join(left)}")

    def _violated(self, what: str) -> None:
        if self.violations[what] == 0:
            self._say(f"violation: {what}")
        self.violations[what] += 1

    def _say(self, what: str) -> None:
        self._context.say(escape(f"hostile: {what}"))

    def _say_progress(self, what: str, passed: float, seconds: float, now: Resident | None) -> None:
        times = [ms for line in self._recent[-40:] for kind in ALWAYS for ms in line.micros.get(kind, [])]
        p99 = f"{percentile(times, 0.99) / 1000:.1f} ms" if times else "-"
        memory = f"{now.anonymous / MIB:.0f} + {now.file / MIB:.0f} MiB" if now else "-"
        self._say(
            f"{what} {passed:.0f} of {seconds:g} s; node {memory} (anonymous + files); good clients "
            f"{self.calls} calls, recent p99 {p99}, violations {self.violations.total()}"
        )


def _tries(log: Path) -> list[str]:
    """What was tried, in order, without what became of it."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if not line.startswith(" ")]


def _strategies(tenant: str, chosen: Sequence[str]) -> Sequence[str]:
    """What a hostile process of this tenant runs; empty: it is not needed."""
    if tenant == "damaged":
        return chosen or DAMAGING
    return [name for name in chosen if name not in DAMAGING] if chosen else ["ALL"]


def run(context: Context) -> Generator[Record, None, None]:
    """The campaign, and its records."""
    with ExitStack() as stack:
        campaign = Campaign(context, stack)
        campaign.start()
        campaign.run(context.seconds, context.control)
        campaign.stop()
    if campaign.most.mib > campaign.budget.mib:
        campaign.violations[f"the node had {campaign.most.mib:.0f} MiB resident; {campaign.budget}"] += 1
    if campaign.violations:
        context.violated("hostile", f"{campaign.violations.total()} violations, seed {context.seed}")
    yield from _what_must_hold(campaign, context.seconds)
    if context.control:
        yield _times(campaign, context.seconds)


def _what_must_hold(campaign: Campaign, seconds: float) -> Generator[Record, None, None]:
    shown = [f"{count} x {what}" for what, count in campaign.violations.most_common(SHOWN)]
    yield record(
        "hostile.violations",
        f"violations in {seconds:g} s of attack: the node's end, late or wrong answers, what stays behind",
        "violations",
        [float(campaign.violations.total())],
        "calls of the good clients",
        [float(campaign.calls)],
        at_most(),
        violations=shown,
    )
    yield record(
        "hostile.rss",
        "most memory that the node had resident, shared memory apart",
        "MiB",
        [campaign.most.mib],
        "the sum of the limits of its parts",
        [campaign.budget.mib],
        at_most(1),
        anonymous_mib=round(campaign.most.anonymous / MIB, 1),
        file_mib=round(campaign.most.file / MIB, 1),
        budget=campaign.budget.parts,
    )


def _times(campaign: Campaign, seconds: float) -> Record:
    attack, control = campaign.attack.figures(), campaign.control.figures()
    return record(
        "hostile.p99",
        "lookups with 8 keys and pings of the good clients during the attack, p99",
        "ms",
        [attack["p99_ms"]] if attack else [],
        "the same beside processes that use as much of the processor and do not talk to the node, p99",
        [control["p99_ms"]] if control else [],
        at_most(3),
        attack=attack,
        control=control,
        attack_counts=dict(campaign.attack.counts),
        control_counts=dict(campaign.control.counts),
        store_ms={
            name: _store(slices) for name, slices in (("attack", campaign.attack), ("control", campaign.control))
        },
        hostile_cores=round(campaign.hostile_cpu_s / seconds, 2),
    )


def _store(slices: Slices) -> dict[str, float]:
    times = slices.times(("STORE",))
    return {"p50": percentile(times, 0.5), "p99": percentile(times, 0.99), "max": max(times)} if times else {}
