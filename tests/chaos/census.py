"""A flow of a user's own that looks at the worker it runs in: `asyncio.all_tasks` tells nobody outside."""

import asyncio
import json
import os
import threading
from pathlib import Path

import psutil
from prefect import flow


@flow(name="census", log_prints=False)
async def census(account: str = "paper", file: str = "") -> None:
    """Append one line of figures about this process to a file."""
    process = psutil.Process()
    names = [task.get_name() for task in asyncio.all_tasks()]
    line = {
        "account": account,
        "pid": os.getpid(),
        "tasks": len(names),
        "threads": threading.active_count(),
        "handles": process.num_fds(),
        "sockets": len(process.net_connections(kind="tcp")),
        "rss_mb": round(process.memory_info().rss / 1e6, 1),
    }
    with Path(file).open("a", encoding="utf-8") as output:  # noqa: ASYNC230 - one line, and the process is being measured
        output.write(json.dumps(line) + "\n")
