"""What `kontor up` finds on its way: how the last desk ended, what it left, and how trading stands now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from deployments.backup import newest_backup
from deployments.credentials import desk_api
from deployments.home import Home, Ports
from deployments.instance import DeskRecord
from deployments.restore import remedy
from deployments.sqlite_files import accounts_in, damage_in, revision, row_counts
from deployments.stores import known_store_url, open_desk_store, opened
from kontor.domain.order import OrderState
from kontor.errors import KontorError, StoreError
from kontor.execution.halt import halted
from kontor.ports import Store

UNKNOWN = {OrderState.SUBMITTED}
LIVE = {OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED}


def require_sound_databases(home: Home) -> None:
    """Raises StoreError, with the remedy, when a database of the home is damaged: nothing may be written to it then."""
    for path in (home.store_file, home.prefect_database):
        if damage := damage_in(path):
            raise StoreError(f"{path} is damaged ({damage}); {remedy(newest_backup(home))}")
    if lost := lost_store(home):
        raise StoreError(f"{lost}; {remedy(newest_backup(home))}; to begin anew, move {home.path} away")


def lost_store(home: Home) -> str:
    """What is wrong when a desk that has worked has no store any more: a new one would know none of its orders."""
    path = home.store_file
    if known_store_url(home) != home.default_store_url or (path.exists() and revision(path)):
        return ""
    if not home.prefect_database.exists() or not row_counts(home.prefect_database, ["flow_run"]).get("flow_run"):
        return ""
    return (
        f"{path} is {'empty' if path.exists() else 'gone'}, although this desk has worked: its orders are in no store"
    )


def how_it_ended(record: DeskRecord | None) -> str | None:
    """A sentence about a desk that was not brought down: it was killed, or the machine went down under it."""
    if record is None or not (record.ready or record.children):
        return None
    return (
        f"the last desk (up since {record.boot_at:%Y-%m-%d %H:%M:%S} UTC) ended without being stopped: its leases "
        "lapse by themselves, and orders of unknown outcome are looked up before anything is sent"
    )


@dataclass
class Findings:
    """The orders that were open when the desk came up, and what became of them until it was ready."""

    home: Home
    # Those of prefect.yaml; an embedded store may know of others.
    accounts: Collection[str] = ()
    _unknown: dict[str, str] = field(default_factory=dict, init=False)
    _live: dict[str, str] = field(default_factory=dict, init=False)

    async def before(self, store: Store) -> None:
        """Look at the books as the last desk left them."""
        for account in self._accounts():
            for order in await store.orders.find(account, states=UNKNOWN | LIVE):
                known = self._unknown if order.state in UNKNOWN else self._live
                known[order.client_order_id] = account

    async def after(self, store: Store) -> list[str]:
        """Sentences about what reconciliation found, and about what a person has to decide."""
        said = []
        if self._unknown:
            said.append(f"orders of unknown outcome: {len(self._unknown)}; {await _fates(store, self._unknown)}")
        if self._live:
            changed = await _fates(store, self._live)
            said.append(f"orders that were live: {len(self._live)}; {changed}")
        for account in self._accounts():
            if (halt := await halted(store.desk, account)) is not None:
                since = f"{halt.at:%Y-%m-%d %H:%M} UTC"
                said += [f"trading on {account} is halted since {since} by {halt.actor}: {halt.reason}"]
        return said

    def _accounts(self) -> list[str]:
        stored = accounts_in(self.home.store_file) if self.home.store_file.exists() else frozenset()
        return sorted({*self.accounts, *stored})


def look_first(home: Home, say: Callable[[str], None]) -> None:
    """Before anything is written or ended: are the databases sound, and how did the last desk end?

    Raises StoreError, with the remedy, for a damaged database.
    """
    require_sound_databases(home)
    if (ended := how_it_ended(DeskRecord.load(home))) is not None:
        say(ended)


def look_at_orders(home: Home, found: Findings) -> None:
    """Which orders are open, once nobody else works on the store: one of an older version is migrated first."""
    url = known_store_url(home)
    if url == home.default_store_url and not home.store_file.exists():
        return

    async def look() -> None:
        async with opened(url) as store:
            await store.migrate()
            await found.before(store)

    asyncio.run(look())


async def say_findings(home: Home, ports: Ports, found: Findings, say: Callable[[str], None]) -> None:
    """What became of the orders that were open, and whether trading is halted; a desk that is up stays so."""
    try:
        async with desk_api(home, ports) as api, open_desk_store(api, home) as store:
            for sentence in await found.after(store):
                say(sentence)
    except KontorError as error:
        say(f"the desk is up; what it found could not be read: {error}")


async def _fates(store: Store, orders: dict[str, str]) -> str:
    """How orders stand now, counted: `2 FILLED, 1 SUBMITTED`."""
    counts: dict[str, int] = {}
    for client_order_id in orders:
        order = await store.orders.get(client_order_id)
        state = order.state.value if order is not None else "missing"
        counts[state] = counts.get(state, 0) + 1
    return "now " + ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
