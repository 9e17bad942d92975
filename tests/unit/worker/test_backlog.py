"""Which runs of a late backlog are worth running."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.sorting import FlowRunSort

from deployments.in_process.backlog import collapse, newest_due

NOW = datetime(2026, 1, 1, tzinfo=UTC)
A, B = UUID(int=1), UUID(int=2)


def flow_run(
    seconds: float, *, deployment: UUID = A, auto: bool = True, state: str = "Late", runs: int = 0, **parameters: int
) -> Any:
    due = NOW + timedelta(seconds=seconds)
    made: Any = FlowRun
    return made(
        id=uuid4(),
        flow_id=uuid4(),
        deployment_id=deployment,
        auto_scheduled=auto,
        run_count=runs,
        parameters=parameters,
        expected_start_time=due,
        next_scheduled_start_time=due,
        state=State(type=StateType.SCHEDULED, name=state),
    )


def test_of_a_schedules_due_runs_only_the_newest_is_run() -> None:
    """The poll that was due a minute ago has nothing to say any more."""
    old, older, newest, future = flow_run(-20), flow_run(-30), flow_run(-10), flow_run(+10)
    backlog = collapse([old, newest, older, future], NOW)
    assert backlog.to_run == [newest, future]
    assert backlog.to_skip == [(older, NOW - timedelta(seconds=10)), (old, NOW - timedelta(seconds=10))]


def test_adhoc_runs_are_never_collapsed() -> None:
    """Two orders are two orders, however late."""
    orders = [flow_run(-60, auto=False), flow_run(-50, auto=False)]
    assert collapse(orders, NOW).to_run == orders


def test_deployments_and_schedules_with_parameters_of_their_own_keep_their_newest_each() -> None:
    """A deployment may have one schedule per account."""
    runs = [flow_run(-20, deployment=A), flow_run(-20, deployment=B), flow_run(-20, deployment=B, account=2)]
    assert collapse(runs, NOW).to_skip == []


def test_a_retried_or_resumed_run_is_somebodys_wish_and_stays() -> None:
    """Pressing Retry on an old scheduled run means that run, not the newest one."""
    runs = [flow_run(-20, state="AwaitingRetry"), flow_run(-15, state="Resuming"), flow_run(-12, runs=1), flow_run(-10)]
    assert collapse(runs, NOW).to_run == runs


@given(st.lists(st.tuples(st.integers(-100, 100), st.sampled_from([A, B]), st.booleans()), max_size=30))
def test_nothing_is_lost_and_every_schedule_keeps_exactly_its_newest_due_run(
    cases: list[tuple[int, UUID, bool]],
) -> None:
    """Whatever the server sends, in whatever order."""
    runs = [flow_run(seconds, deployment=deployment, auto=auto) for seconds, deployment, auto in cases]
    backlog = collapse(runs, NOW)
    skipped = [run for run, _ in backlog.to_skip]
    assert sorted(run.id for run in runs) == sorted(run.id for run in backlog.to_run + skipped)
    assert all(run.auto_scheduled for run in skipped)
    for run, newest in backlog.to_skip:
        stands = [each for each in backlog.to_run if each.deployment_id == run.deployment_id and each.auto_scheduled]
        due = [each.expected_start_time for each in stands if each.expected_start_time]
        assert [moment for moment in due if moment <= NOW] == [newest]
        assert run.expected_start_time is not None
        assert run.expected_start_time <= newest


class Server:
    """A server's late runs, handed out newest first, a page at a time."""

    def __init__(self, runs: list[Any]) -> None:
        self.runs = sorted(runs, key=lambda run: run.expected_start_time, reverse=True)
        self.asked = 0

    async def read_flow_runs(self, *, flow_run_filter: Any, sort: Any, limit: int, offset: int) -> list[Any]:
        self.asked += 1
        assert sort == FlowRunSort.EXPECTED_START_TIME_DESC
        wanted = [run for run in self.runs if run.deployment_id in flow_run_filter.deployment_id.any_]
        due = [run for run in wanted if run.expected_start_time <= flow_run_filter.expected_start_time.before_]
        return due[offset : offset + limit]


async def test_a_page_full_of_old_runs_does_not_hide_the_newest_of_a_schedule() -> None:
    """While late runs come in as fast as they are skipped, the page stays full: the newest are run all the same."""
    late = [flow_run(-second) for second in range(50)]
    seldom = [flow_run(-40.5, deployment=B), flow_run(-49.5, deployment=B)]
    server = Server([*late, *seldom, flow_run(+5)])
    page = [*late[-10:], seldom[-1]]
    first = collapse(page, NOW)
    found = await newest_due(cast("Any", server), first, NOW, 10)
    whole = {run.id: run for run in [*page, *found]}
    backlog = collapse(whole.values(), NOW)
    assert {run.id for run in backlog.to_run} == {late[0].id, seldom[0].id}
    assert server.asked == 5, "until the seldom one was seen"
    # The rest of what is known is skipped; nothing of the future was touched.
    assert len(backlog.to_skip) == len(whole) - 2
