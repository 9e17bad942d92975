"""A flow of a user's own that looks at the worker it runs in: `asyncio.all_tasks` tells nobody outside."""

import asyncio
import ctypes
import gc
import json
import os
import sys
import threading
from pathlib import Path

import psutil
from prefect import flow


class _Heap(ctypes.Structure):
    """What glibc says of its heap (mallinfo2), in bytes."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks")),
        *((name, ctypes.c_size_t) for name in ("uordblks", "fordblks", "keepcost")),
    )


def heap_mb() -> dict[str, float]:
    """Megabytes in use and free on the C heap; nothing where the C library does not say."""
    ask = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if ask is None:
        return {}
    ask.restype = _Heap
    found = ask()
    return {"heap_used_mb": (found.uordblks + found.hblkhd) / 1e6, "heap_free_mb": found.fordblks / 1e6}


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
        # Where memory grows: objects of Python's, the C heap, or what neither uses.
        "blocks": sys.getallocatedblocks(),
        "collections": gc.get_stats()[2]["collections"],
        **{name: round(value, 1) for name, value in heap_mb().items()},
    }
    with Path(file).open("a", encoding="utf-8") as output:  # noqa: ASYNC230 - one line, and the process is being measured
        output.write(json.dumps(line) + "\n")
