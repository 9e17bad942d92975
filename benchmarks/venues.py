"""Venues that the benchmarks start beside themselves, and ccxt as everybody uses it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ccxt.pro


@contextmanager
def process(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A program of ours beside this one, ended at the end."""
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.terminate()
        child.wait()


def bare_client(urls: dict[str, str], **more: Any) -> Any:
    """Ccxt as everybody uses it."""
    config: Any = {"urls": {"api": urls}, "options": {"fetchMarkets": {"types": ["spot"]}}, **more}
    return ccxt.pro.okx(config)
