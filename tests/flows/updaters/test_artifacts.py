"""What Prefect's UI shows of an account: tables and a picture under keys that stay, of each only the newest few."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prefect import flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from prefect.client.schemas.sorting import ArtifactSort

from kontor.domain.account import Position, PositionSide
from kontor.domain.fill import Fill
from kontor.domain.order import Order, OrderType, Side
from tasks.artifacts import EQUITY, FILLS, KEPT, OPEN_ORDERS, POSITIONS, artifact_key, prune_artifacts, show_account
from tests.fakes.desk import FakeDesk

BTC = "BTC/USD:USD"


@flow(name="shows", validate_parameters=False)
async def show(desk: Any) -> None:
    """Artifacts belong to a run."""
    await show_account(desk)


@flow(name="writes", validate_parameters=False)
async def write(account: str, count: int) -> None:
    """So many pictures of an account."""
    for number in range(count):
        await acreate_markdown_artifact(markdown=str(number), key=artifact_key(EQUITY, account))


async def shown(name: str, account: str) -> list[Artifact]:
    """The artifacts of a key."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[artifact_key(name, account)]))
    async with get_client() as client:
        return await client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=100)


async def test_the_account_is_shown_as_the_store_has_it(
    prefect_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions, what waits or is open, fills with the newest first, and the curve as a picture."""
    account = f"Shown_{os.getpid()}"
    desk = FakeDesk()
    desk.account = account
    now, store = desk.clock.now(), desk.store
    await show(desk)
    assert json.loads(str((await shown(POSITIONS, account))[0].data)) == [{"": "none"}]
    assert await shown(EQUITY, account) == []

    figures = Decimal("0.10"), Decimal(50000), Decimal(49000), Decimal(100)
    held = Position(BTC, PositionSide.SHORT, *figures, None, None, None, now)
    await store.account.save_positions(account, [held], now)
    order = Order("k1", account, BTC, Side.SELL, OrderType.LIMIT, Decimal("0.5"), now, price=Decimal(51000), actor="me")
    await store.orders.enqueue([order], "test")
    fill = Fill("t1", BTC, Side.SELL, Decimal("0.1"), Decimal(50000), now, "v1", "k0", Decimal("0.5"), "USD")
    later = replace(fill, trade_id="t2", filled_at=now + timedelta(seconds=1), price=Decimal(50001))
    await store.orders.save_fills(account, [fill, later])
    for minute in range(3):
        await store.account.save_equity(account, Decimal(1000 + minute), now - timedelta(minutes=3 - minute))
    await show(desk)

    async def newest(name: str) -> Any:
        return max(await shown(name, account), key=lambda each: str(each.created)).data

    [position] = json.loads(await newest(POSITIONS))
    assert (position["market"], position["side"], position["quantity"]) == (BTC, "short", "0.1")
    [waiting] = json.loads(await newest(OPEN_ORDERS))
    assert (waiting["order"], waiting["state"], waiting["price"], waiting["by"]) == (
        "k1",
        "INITIALIZED",
        "51,000",
        "me",
    )
    assert [each["price"] for each in json.loads(await newest(FILLS))] == ["50,001", "50,000"]
    words = await newest(EQUITY)
    assert words.startswith("**1,002.00 USD** at ")
    assert "](data:image/png;base64,iVBOR" in words
    # A row of Prefect's database every few minutes.
    assert len(words) < 80_000


async def test_of_each_key_the_newest_few_stay_and_another_accounts_are_left_alone(prefect_database: Path) -> None:
    """A table every five minutes would be 100,000 rows a year."""
    account, other = f"pruned-{os.getpid()}", f"pruned-{os.getpid()}-2"
    await write(account, KEPT + 3)
    await write(other, KEPT + 1)
    assert await prune_artifacts.fn(account) == 3
    left = await shown(EQUITY, account)
    assert sorted(int(str(each.data)) for each in left) == list(range(3, KEPT + 3))
    assert len(await shown(EQUITY, other)) == KEPT + 1
    assert await prune_artifacts.fn(account) == 0
