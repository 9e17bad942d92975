"""Prefect's own server, kept from freezing on its embedded SQLite database: `python -m deployments.server`."""

from __future__ import annotations

import argparse
import functools
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from prefect.server.api import collections
from prefect.server.database import configurations
from prefect.types import _datetime
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine

from deployments.exposure import is_loopback
from kontor.resilience.garbage import set_aside_what_stays

#: How long a request waits for its turn at the one connection before it fails, in seconds.
POOL_TIMEOUT = 60
#: Pages of 4 KiB that SQLite keeps in memory: 16 MB. The system holds the file in its own cache as well.
CACHE_PAGES = 4000
#: By then the server has imported what its services need.
SETTLED_SECONDS = 120.0


def with_one_connection(create_engine: Callable[..., AsyncEngine]) -> Callable[..., AsyncEngine]:
    """The given engine factory, which now gives a file-based SQLite engine one connection and leaves others alone.

    Why one: docs/adr/0002-one-connection-for-sqlite.md.
    """

    def create(url: str | URL, **options: Any) -> AsyncEngine:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite" and "poolclass" not in options:
            options |= {"pool_size": 1, "max_overflow": 0, "pool_timeout": POOL_TIMEOUT}
        return create_engine(url, **options)

    return create


def give_sqlite_one_connection() -> None:
    """Make Prefect's server, in this process, use a single connection to an SQLite file."""
    prefects_own = vars(configurations)["create_async_engine"]
    configurations.create_async_engine = with_one_connection(prefects_own)  # pyright: ignore[reportPrivateImportUsage]


def limit_sqlite_cache() -> None:
    """Make Prefect's server, in this process, keep less of an SQLite file in memory than the 80 MB it asks for.

    The process would grow by that much over hours, as its database does.
    """
    prefects_own = configurations.AioSqliteConfiguration.setup_sqlite

    def setup(self: configurations.AioSqliteConfiguration, conn: Any, record: Any) -> None:
        prefects_own(self, conn, record)
        cursor = conn.cursor()
        cursor.execute(f"PRAGMA cache_size = {CACHE_PAGES}")
        cursor.close()

    configurations.AioSqliteConfiguration.setup_sqlite = setup


def settle_later() -> None:
    """Keep the collector from looking at the server's modules and classes, once they are all there."""
    timer = threading.Timer(SETTLED_SECONDS, set_aside_what_stays)
    timer.daemon = True
    timer.start()


def with_our_worker_type(
    read_view: Callable[[str], Awaitable[dict[str, Any]]],
) -> Callable[[str], Awaitable[dict[str, Any]]]:
    """The given reader of Prefect's registry, in whose list of worker types ours stands beside Prefect's own.

    The UI's page for a new work pool shows that list and nothing else; the command line knows the type by itself.
    """

    async def read(view: str) -> dict[str, Any]:
        content = await read_view(view)
        if view != "aggregate-worker-metadata":
            return content
        from deployments.worker import InProcessWorker

        ours = {
            "type": InProcessWorker.type,
            "display_name": InProcessWorker._display_name,  # noqa: SLF001 - Prefect has no getter for it
            "description": InProcessWorker.get_description(),
            "documentation_url": InProcessWorker.get_documentation_url(),
            "logo_url": InProcessWorker.get_logo_url(),
            "install_command": "pip install kontor",
            "is_beta": False,
            "default_base_job_configuration": InProcessWorker.get_default_base_job_template(),
        }
        return {**content, "kontor": {InProcessWorker.type: ours}}

    return read


def list_our_worker_type() -> None:
    """Make Prefect's server, in this process, list our worker type, beside those of its installed registry.

    Without an address Prefect's reader takes that copy at once, instead of asking a site outside first.
    """
    collections.KNOWN_VIEWS = dict.fromkeys(collections.KNOWN_VIEWS, "")
    collections.get_collection_view = with_our_worker_type(collections.get_collection_view)


def remember_timezones() -> None:
    """Make Prefect, in this process, list the machine's timezones once.

    It does so for each schedule of each deployment that it reads or shows: 8 ms of walking through files, in the loop.
    """
    _datetime.available_timezones = functools.cache(vars(_datetime)["available_timezones"])  # pyright: ignore[reportPrivateImportUsage]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run Prefect's server in the foreground; host and port default to loopback and Prefect's own setting."""
    parser = argparse.ArgumentParser(prog="python -m deployments.server", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=None, help="port to listen on (default: Prefect's setting)")
    options = parser.parse_args(arguments)
    if not is_loopback(options.host) and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        parser.error(
            f"--host {options.host} would let anybody on that network trade: set PREFECT_SERVER_API_AUTH_STRING to "
            "user:password, and put TLS in front"
        )

    # Automations can notify through our blocks only if this process knows their types.
    from prefect.cli import app

    import blocks.notifiers  # noqa: F401  # pyright: ignore[reportUnusedImport]

    give_sqlite_one_connection()
    limit_sqlite_cache()
    settle_later()
    list_our_worker_type()
    remember_timezones()
    sys.argv = ["prefect", "server", "start", "--host", options.host]
    if options.port is not None:
        sys.argv += ["--port", str(options.port)]
    app()


if __name__ == "__main__":
    main()
