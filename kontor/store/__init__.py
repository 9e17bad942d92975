"""The durable store of a desk: in memory, on SQLite or on PostgreSQL, behind the ports of `kontor.ports`."""

from kontor.store.opening import open_store

__all__ = ["open_store"]
