"""What a desk's processes take of the machine in the course of a soak, and whether that is too much."""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.support.desk import RunningDesk

GROWTH_PERCENT = 5.0


@dataclass(frozen=True)
class Sample:
    """One process at one moment."""

    at: float
    rss_mb: float
    handles: int
    threads: int


@dataclass
class Watcher:
    """The desk's processes as the system sees them."""

    desk: RunningDesk
    samples: dict[str, list[Sample]] = field(default_factory=lambda: defaultdict(list))
    pids: dict[str, int] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)

    def look(self) -> None:
        """One sample of each process; a new pid is a death."""
        record = self.desk.record()
        processes = {child.name: child.pid for child in record.children} | {"supervisor": record.supervisor.pid}
        for name, pid in processes.items():
            if self.pids.setdefault(name, pid) != pid:
                self.deaths[name] += 1
                self.pids[name] = pid
                self.samples[name].clear()
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                memory = process.memory_info().rss / 1e6
                self.samples[name].append(Sample(time.monotonic(), memory, process.num_fds(), process.num_threads()))

    def growth(self, warm_at: float) -> dict[str, tuple[float, float]]:
        """Megabytes by process: around the end of the warm-up, and at the end; medians over a tenth of the time."""
        found = {}
        for name, samples in self.samples.items():
            later = [each for each in samples if each.at >= warm_at]
            if len(later) >= 2:
                width = max(len(later) // 10, 1)
                first, last = later[:width], later[-width:]
                found[name] = (_median(first, "rss_mb"), _median(last, "rss_mb"))
        return found


class Judge:
    """Says what is too much; prints every figure on the way."""

    def __init__(self, watcher: Watcher, census_file: Path) -> None:
        self._watcher, self._census_file = watcher, census_file
        self._problems: list[str] = []

    def problems(self, warm_at: float) -> list[str]:
        """What is wrong with memory, handles and tasks since the warm-up; and the deaths."""
        self._problems.clear()
        for name, count in self._watcher.deaths.items():
            self._problems.append(f"{name} died {count} times")
        growth = self._watcher.growth(warm_at)
        for name, (first, last) in growth.items():
            self._judge_growth(name, first, last)
        if growth:
            self._judge_growth("all of them", *(sum(each[place] for each in growth.values()) for place in (0, 1)))
        for name, samples in self._watcher.samples.items():
            later = [each for each in samples if each.at >= warm_at]
            if len(later) >= 20:
                first, last = _median(later[:10], "handles"), _median(later[-10:], "handles")
                print(f"  {name:16} file handles {first:.0f} -> {last:.0f}")
                if last > first + 10:
                    self._problems.append(f"{name}: file handles leak, {first:.0f} -> {last:.0f}")
        for pid, rows in self._censuses().items():
            self._judge_census(pid, rows[len(rows) // 4 :])
        return self._problems

    def _judge_growth(self, name: str, first: float, last: float) -> None:
        percent = 100 * (last / first - 1)
        print(f"  {name:16} memory {first:.1f} -> {last:.1f} MB ({percent:+.1f} %)")
        if percent > GROWTH_PERCENT:
            self._problems.append(f"{name}: memory grew by {percent:.1f} %")

    def _judge_census(self, pid: int, rows: list[dict[str, Any]]) -> None:
        name = next((name for name, known in self._watcher.pids.items() if known == pid), str(pid))
        width = max(len(rows) // 4, 1)
        for what, slack in (("tasks", 10), ("sockets", 10), ("threads", 5)):
            first = statistics.median(row[what] for row in rows[:width])
            last = statistics.median(row[what] for row in rows[-width:])
            print(f"  {name:16} {what} {first:.0f} -> {last:.0f}")
            if last > first + slack:
                self._problems.append(f"{name}: {what} leak, {first:.0f} -> {last:.0f}")
        for what in ("blocks", "collections", "heap_used_mb", "heap_free_mb"):
            print(f"  {name:16} {what} " + " ".join(f"{row[what]:.0f}" for row in rows if what in row))

    def _censuses(self) -> dict[int, list[dict[str, Any]]]:
        """What the workers have counted, by pid, oldest first."""
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        if self._census_file.exists():
            for line in self._census_file.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                found[row["pid"]].append(row)
        return found


def _median(samples: list[Sample], what: str) -> float:
    return statistics.median(getattr(each, what) for each in samples)
