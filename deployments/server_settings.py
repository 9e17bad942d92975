"""Every Prefect setting the desk's server, its workers and its command line need, as environment variables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from deployments.exposure import Exposure

#: Prefect takes no retention shorter than this.
SHORTEST_RETENTION = timedelta(hours=1)
#: How long one of Prefect's clients may change things with the token it has.
CSRF_LIFE = timedelta(days=1)


def client_environment(home: Path, port: int, auth: str = "") -> dict[str, str]:
    """What any process that talks to the desk's Prefect server needs: where it is, and nothing sent anywhere else.

    With `auth` (user:password) also what opens it.
    """
    opened = {"PREFECT_API_AUTH_STRING": auth} if auth else {}
    return opened | {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "kontor",
    }


def server_environment(
    home: Path,
    port: int,
    database_url: str | None = None,
    retention: timedelta = timedelta(days=3),
    *,
    auth: str = "",
    encryption_key: str = "",
    exposure: Exposure = Exposure(),  # noqa: B008 - it is frozen
) -> dict[str, str]:
    """The settings of the desk's Prefect server, with a history bounded by `retention`.

    Without a database URL the server keeps an SQLite file in the home. With `auth` (user:password) it answers nobody
    else, and wants a CSRF token with every change; `encryption_key` is what it encrypts blocks with.
    """
    if retention <= SHORTEST_RETENTION:
        raise ValueError(
            f"retention {retention}: Prefect keeps history for more than {SHORTEST_RETENTION}, ask for longer"
        )
    kept = str(int(retention.total_seconds()))
    return (
        client_environment(home, port, auth)
        | _protection(port, auth, encryption_key, exposure)
        | {
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database_url
            or f"sqlite+aiosqlite:///{home / 'prefect' / 'prefect.db'}",
            "PREFECT_SERVER_API_HOST": exposure.host,
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_UI_API_URL": exposure.ui_api_url(port),
            "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
            # Every run adds rows: 15 runs a minute are 22,000 a day. Orphaned logs go with the runs they belong to.
            "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": kept,
            "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{kept}S",
            "PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS": "900",
            # Task runs are written together once a second, instead of each of a task's three events in a transaction.
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "25",
            "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
            # Short horizons keep a backlog small when no worker is there, and the table of future runs small always.
            "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "30",
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_RUNS": "3",
            "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT180S",
        }
    )


def _protection(port: int, auth: str, encryption_key: str, exposure: Exposure) -> dict[str, str]:
    """Who may do what: pages of other origins nothing, and without the password nobody anything."""
    settings = {"PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": exposure.origins(port)}
    if auth:
        settings |= {
            "PREFECT_SERVER_API_AUTH_STRING": auth,
            "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
            # A token is asked for once in a client's life; what has lapsed would only be asked for anew.
            "PREFECT_SERVER_API_CSRF_TOKEN_EXPIRATION": f"PT{int(CSRF_LIFE.total_seconds())}S",
        }
    if encryption_key:
        settings["PREFECT_SERVER_ENCRYPTION_KEY"] = encryption_key
    return settings


def worker_environment(
    home: Path,
    port: int,
    *,
    auth: str = "",
    query: timedelta = timedelta(seconds=5),
    prefetch: timedelta = timedelta(seconds=25),
) -> dict[str, str]:
    """The settings of a desk's worker: it asks for runs this often, and claims them this long before they are due."""
    return client_environment(home, port, auth) | {
        "PREFECT_WORKER_QUERY_SECONDS": f"{query.total_seconds():g}",
        "PREFECT_WORKER_PREFETCH_SECONDS": f"{prefetch.total_seconds():g}",
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "15",
        # Threads come and go with synchronous flows and log handlers; glibc would give each an arena of its own.
        "MALLOC_ARENA_MAX": "2",
    }
