"""What a flow run costs and how late it begins, on an in-process and on a stock process worker.

`python -m benchmarks.worker [--windows N] [--quick]`: both sides in one run, same flows, same server, medians of N
windows; figures and bars go to `benchmarks/results/worker.json`. Meant for a quiet machine, of which it takes about
25 minutes; ratios of CPU time hold on a busy one too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.client.schemas.objects import StateType
from prefect.states import Scheduled

from benchmarks.worker_desk import BenchDesk, cpu_seconds, remove, runs_of

RESULTS = Path(__file__).parent / "results" / "worker.json"
DEPLOYMENTS = 12
#: Seconds of a window: three due times of each of the twelve deployments, and two of each of the stock worker's three.
WINDOW, STOCK_WINDOW, QUICK_WINDOW = 36.0, 40.0, 24.0
STOCK_DEPLOYMENTS, STOCK_EVERY = 3, 20.0
#: Deployments and seconds between their due times while the worker's memory is watched: 288 runs a minute.
MEMORY_LOAD = (24, 5.0)
A_CORE = 0.85
MEGABYTE = 1e6
WORKER_BAR, WHOLE_BAR, GROWTH_BAR, SHARE_BAR = 25, 12, 1.05, 0.2


@dataclass
class Window:
    """What was seen in one window."""

    due: int
    begun: int
    lateness: list[float]
    worker_cpu: float
    server_cpu: float
    seconds: float

    def percentile(self, share: float) -> float:
        """Lateness below which this share of the due runs began; a run that has not begun is as late as the window."""
        ordered = sorted(self.lateness) + [self.seconds] * (self.due - self.begun)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass
class Figure:
    """One line of the table."""

    name: str
    value: float
    bar: str
    holds: bool | None
    detail: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        verdict = {True: "holds", False: "MISSED", None: ""}[self.holds]
        return f"{self.name:62} {self.value:9.3f}  {self.bar:8} {verdict}"


def at_least(name: str, value: float, bar: float, detail: dict[str, Any]) -> Figure:
    """A figure that must not be below its bar."""
    return Figure(name, value, f">= {bar}", value >= bar, detail)


def at_most(name: str, value: float, bar: float, detail: dict[str, Any]) -> Figure:
    """A figure that must not be above its bar."""
    return Figure(name, value, f"<= {bar}", value <= bar, detail)


@dataclass
class Bench:
    """The campaign's means and its length."""

    desk: BenchDesk
    client: PrefectClient
    windows: int
    seconds: float
    runs_to_remember: tuple[int, int]
    held: int

    async def window(self, worker: psutil.Process, deployments: list[Any]) -> Window:
        """Watch the deployments for one window."""
        began, cpu = datetime.now(UTC), (cpu_seconds(worker), cpu_seconds(self.desk.server))
        await asyncio.sleep(self.seconds)
        ended = datetime.now(UTC)
        used = cpu_seconds(worker) - cpu[0], cpu_seconds(self.desk.server) - cpu[1]
        await asyncio.sleep(3)  # runs that were due at the window's end may begin a little later
        runs = await runs_of(self.client, deployments, began, ended)
        lateness = [
            (run.start_time - run.expected_start_time).total_seconds()
            for run in runs
            if run.start_time and run.expected_start_time
        ]
        return Window(len(runs), len(lateness), [max(0.0, late) for late in lateness], *used, self.seconds)

    async def campaign(self, kind: str, pool: str, count: int, every: float, *, spread: bool = True) -> list[Window]:
        """The windows of one arrangement, after a first one that warms it up."""
        deployments = await self.desk.deploy(self.client, pool, count, every, spread=spread)
        with self.desk.worker(kind, pool) as worker:
            await asyncio.sleep(max(2 * every, 15))
            seen = [await self.window(worker, deployments) for _ in range(self.windows)]
        await remove(self.client, deployments)
        print(kind, f"{count} every {every} s", "spread" if spread else "coinciding",
              [f"{each.begun}/{each.due} p95 {each.percentile(0.95):.2f}" for each in seen], flush=True)  # fmt: skip
        return seen

    async def idle(self, kind: str, pool: str) -> tuple[float, float]:
        """CPU seconds a second of a worker without runs, and of the server it polls."""
        with self.desk.worker(kind, pool) as worker:
            await asyncio.sleep(10)
            seen = await self.window(worker, [])
        return seen.worker_cpu / seen.seconds, seen.server_cpu / seen.seconds


def per_run(windows: list[Window], idle: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """Median CPU seconds a run, of the worker and of the server, less what they use idly."""
    worker = [(each.worker_cpu - idle[0] * each.seconds) / max(1, each.begun) for each in windows]
    server = [(each.server_cpu - idle[1] * each.seconds) / max(1, each.begun) for each in windows]
    return statistics.median(worker), statistics.median(server)


def median_percentile(windows: list[Window], share: float) -> float:
    """The median over the windows of a percentile of lateness."""
    return statistics.median(each.percentile(share) for each in windows)


async def cost_and_lateness(bench: Bench) -> list[Figure]:
    """The first three lines of the table."""
    spread = await bench.campaign("in-process", "ours", DEPLOYMENTS, DEPLOYMENTS)
    coinciding = await bench.campaign("in-process", "ours", DEPLOYMENTS, DEPLOYMENTS, spread=False)
    beside = replace(bench, seconds=STOCK_WINDOW)
    idle = await beside.idle("process", "stock")
    stock = await beside.campaign("process", "stock", STOCK_DEPLOYMENTS, STOCK_EVERY)
    # Ours with everything it uses, theirs less what it uses when idle: the comparison can only be too modest.
    ours_cpu, stock_cpu = per_run(spread), per_run(stock, idle)
    detail = {"in_process": ours_cpu, "process": stock_cpu, "idle_process": idle}
    rate = f"process worker at {STOCK_DEPLOYMENTS * 60 / STOCK_EVERY:.0f} runs a minute, p50 and p95"
    theirs = {rate: [median_percentile(stock, 0.5), median_percentile(stock, 0.95)]}
    figures = [
        at_least("worker CPU per run: process / in-process", stock_cpu[0] / ours_cpu[0], WORKER_BAR, detail),
        at_least("worker and server CPU per run: ratio", sum(stock_cpu) / sum(ours_cpu), WHOLE_BAR, detail),
    ]
    for name, windows, bar in (("spread", spread, 0.5), ("coinciding", coinciding, 2.0)):
        more = {"p50": median_percentile(windows, 0.5), "begun": [f"{each.begun}/{each.due}" for each in windows]}
        late = median_percentile(windows, 0.95)
        figures.append(at_most(f"lateness p95 at 60 a minute, {name}, seconds", late, bar, more | theirs))
    return figures


async def sustained(bench: Bench, rates: list[int]) -> Figure:
    """The highest rate at which p95 lateness stays below a second, and what was busy when it did not."""
    best, limit, steps = 0, "not reached", {}
    for rate in rates:
        (seen,) = await replace(bench, windows=1, seconds=30.0).campaign("in-process", "ours", rate // 6, 10.0)
        late = seen.percentile(0.95)
        cores = {"worker": seen.worker_cpu / seen.seconds, "server": seen.server_cpu / seen.seconds}
        steps[rate] = {"p95": late, "begun": f"{seen.begun}/{seen.due}", "cores": cores}
        if late >= 1.0:
            busy = [name for name, used in cores.items() if used > A_CORE]
            limit = " and ".join(busy) or "neither process had a core of its own"
            break
        best = rate
    detail = {"limited_by": limit, "steps": steps}
    return Figure("sustained runs a minute with p95 lateness below 1 s", best, "report", None, detail)


async def memory(bench: Bench) -> list[Figure]:
    """How the worker grows with its runs, and what twelve runs hold on either side."""
    early_runs, late_runs = bench.runs_to_remember
    deployments = await bench.desk.deploy(bench.client, "ours", *MEMORY_LOAD, spread=True)
    ran = FlowRunFilter.model_validate(
        {"deployment_id": FlowRunFilterDeploymentId(any_=deployments), "state": {"name": {"any_": ["Completed"]}}}
    )
    held: dict[int, float] = {}
    with bench.desk.worker("in-process", "ours") as worker:
        while late_runs not in held:
            await asyncio.sleep(2)
            done = await bench.client.count_flow_runs(flow_run_filter=ran)
            held |= {
                mark: worker.memory_info().rss for mark in (early_runs, late_runs) if done >= mark and mark not in held
            }
    await remove(bench.client, deployments)
    detail = {f"MB after {runs} runs": round(resident / MEGABYTE, 1) for runs, resident in held.items()}
    together, share_detail = await held_by_processes(bench)
    growth, share = held[late_runs] / held[early_runs], held[late_runs] / together
    return [
        at_most(f"worker memory after {late_runs} runs / after {early_runs}", growth, GROWTH_BAR, detail),
        at_most("resident memory: in-process worker / process runs at once", share, SHARE_BAR, share_detail),
    ]


async def held_by_processes(bench: Bench) -> tuple[float, dict[str, float]]:
    """Resident bytes of so many process runs that are alive at the same time."""
    (deployment,) = await bench.desk.deploy(bench.client, "stock", 1, 0, spread=True, flow="hold")
    release = bench.desk.home / "release"
    running = FlowRunFilter.model_validate(
        {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": [StateType.RUNNING]}}}
    )
    with bench.desk.worker("process", "stock") as worker:
        for _ in range(bench.held):
            state: Any = Scheduled()
            await bench.client.create_flow_run_from_deployment(
                deployment, parameters={"until": str(release)}, state=state
            )
        deadline = time.monotonic() + 60 + 30 * bench.held
        while await bench.client.count_flow_runs(flow_run_filter=running) < bench.held and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(1)
        children = worker.children(recursive=True)
        resident = sum(child.memory_info().rss for child in children)
        detail = {"process MB": resident / MEGABYTE, "processes": len(children), "runs": bench.held}
        release.touch()
        await asyncio.sleep(5)
    await remove(bench.client, [deployment])
    return resident / bench.held * DEPLOYMENTS, detail


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


async def measure(options: argparse.Namespace, home: Path) -> list[Figure]:
    """Every figure, in one run, each printed when it is known."""
    desk = BenchDesk(home)
    figures: list[Figure] = []

    def known(*new: Figure) -> None:
        figures.extend(new)
        print(*new, sep="\n", flush=True)

    with ExitStack() as stack:
        stack.callback(desk.stop)
        async with PrefectClient(api=desk.url) as client:
            bench = Bench(
                desk=desk,
                client=client,
                windows=options.windows,
                seconds=QUICK_WINDOW if options.quick else WINDOW,
                runs_to_remember=(40, 120) if options.quick else (200, 2000),
                held=3 if options.quick else DEPLOYMENTS,
            )
            await desk.add_pool(client, "in-process", "ours")
            await desk.add_pool(client, "process", "stock")
            known(*await cost_and_lateness(bench))
            known(await sustained(bench, [120] if options.quick else [120, 180, 240, 300, 360]))
            known(*await memory(bench))
        locked = desk.server_complaints()
        known(Figure('"database is locked" in the server\'s log', locked, "0", locked == 0))
    return figures


def main() -> int:
    """Measure, print the table, write the results; 1 if a full run misses a bar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("--windows", type=int, help="windows of each arrangement (5, quick: 1)")
    parser.add_argument("--quick", action="store_true", help="short windows and few runs: shows that it works, no more")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.windows = options.windows or (1 if options.quick else 5)
    began = time.monotonic()
    results: dict[str, Any] = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine()}
    with tempfile.TemporaryDirectory(prefix="kontor-bench-") as home:
        figures = asyncio.run(measure(options, Path(home)))
    results |= {
        "windows": options.windows,
        "window_seconds": QUICK_WINDOW if options.quick else WINDOW,
        "quick": options.quick,
        "took": str(timedelta(seconds=round(time.monotonic() - began))),
        "figures": [asdict(figure) for figure in figures],
    }
    print("", *figures, sep="\n")
    if options.quick and options.out == RESULTS:
        return 0  # a quick run's figures are not worth keeping
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0 if options.quick else int(any(figure.holds is False for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
