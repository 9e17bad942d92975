"""Who gets a lease: pure decisions, the same for every adapter."""

import secrets
import string
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from kontor.errors import LeaseLost
from kontor.ports import Lease

PREFIX_LENGTH = 4


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease with the caller's time at its last acquire or renewal."""

    lease: Lease
    held_at: datetime


def taken(row: LeaseRow | None, wanted: Lease, now: datetime) -> LeaseRow | None:
    """The row after `wanted.owner` asked; None while another owner holds it.

    The number grows whenever the lease was free or had lapsed, also for the owner who held it last: what happened in
    between is unknown.
    """
    if row is None:
        return LeaseRow(replace(wanted, fencing=1), now)
    # A holder whose own time lies a whole lease ahead of ours wrote it before a clock was set back: by our time it says
    # nothing, and would keep everybody waiting until that time comes again. The number fences the holder off.
    is_from_the_future = row.held_at > now + (wanted.expires_at - now)
    is_held = row.lease.expires_at > now and not is_from_the_future
    if is_held and row.lease.owner != wanted.owner:
        return None
    return LeaseRow(replace(wanted, fencing=row.lease.fencing + (not is_held)), now)


def renewed(row: LeaseRow | None, lease: Lease, ttl: timedelta, now: datetime) -> LeaseRow:
    """The row with a later expiry; raises LeaseLost when it lapsed or somebody else has it."""
    if row is None or not _is_same(row.lease, lease):
        holder = "nobody" if row is None else f"{row.lease.owner} with number {row.lease.fencing}"
        raise LeaseLost(f"lease {lease.name}: {lease.owner} with number {lease.fencing} has lost it to {holder}")
    if row.lease.expires_at <= now:
        raise LeaseLost(f"lease {lease.name}: {lease.owner} let it lapse at {row.lease.expires_at.isoformat()}")
    return LeaseRow(replace(row.lease, expires_at=now + ttl), now)


def released(row: LeaseRow | None, lease: Lease) -> LeaseRow | None:
    """The row given back, its number kept; None when it is not this owner's to give."""
    if row is None or not _is_same(row.lease, lease):
        return None
    return LeaseRow(replace(row.lease, expires_at=row.held_at), row.held_at)


def new_prefix() -> str:
    """Four random letters for a desk's client order ids."""
    return "".join(secrets.choice(string.ascii_lowercase) for _ in range(PREFIX_LENGTH))


def _is_same(stored: Lease, lease: Lease) -> bool:
    return (stored.owner, stored.fencing) == (lease.owner, lease.fencing)
