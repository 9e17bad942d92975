"""Bringing a database to the newest schema, inside one transaction that no other writer can join."""

import logging
import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from kontor.errors import StoreError
from kontor.store.migrations import HEAD

MIGRATIONS = Path(__file__).parent / "migrations"

# Alembic keeps what it works on in globals: two stores of one process migrate one after the other.
_one_at_a_time = threading.Lock()

logger = logging.getLogger(__name__)


def run_migrations(conn: Connection, place: str) -> None:
    """Upgrade to HEAD; costs one query when there is nothing to do. The caller holds the write lock."""
    found = revision_of(conn)
    if found == HEAD:
        return
    # Late: Alembic takes 100 ms to import, and most starts have nothing to migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = conn
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"store {place}: it was migrated by a newer Kontor (revision {found}, this one knows {HEAD}): "
            "update Kontor, or restore the backup made before"
        )
    with _one_at_a_time:
        command.upgrade(config, "head")
    logger.info("store migrated place=%s from=%s to=%s", place, found, HEAD)


def revision_of(conn: Connection) -> str | None:
    """The revision a database is at; None when it is empty."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    return conn.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
