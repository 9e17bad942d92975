"""The tables, the same on SQLite and PostgreSQL; migrations/ brings a database to this shape."""

# All of them: whoever asks for the metadata gets every table.
from kontor.store.tables import account, desk, market, orders

__all__ = ["account", "desk", "market", "orders"]
