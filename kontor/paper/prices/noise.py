"""Randomness without a state: the same key and counter give the same number, in any order and on any machine.

Only integer and basic IEEE arithmetic, so that neither the length of an array nor the processor changes a bit.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from kontor.paper.prices.source import Floats

Bits = NDArray[np.uint64]
_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_MASK = np.uint64(0xFFFF)
_LANES = tuple(np.uint64(shift) for shift in (0, 16, 32, 48))
_SHIFTS = tuple(np.uint64(shift) for shift in (30, 27, 31))
_UNIT = 1.0 / 65536.0
_TO_UNIT_VARIANCE = 3.0**0.5  # the sum of four uniform numbers has a variance of a third


def key(*words: object) -> int:
    """A 64-bit key for these words."""
    text = "\x1f".join(str(word) for word in words)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def bits(keys: Bits, counters: NDArray[np.int64]) -> Bits:
    """Sixty-four random bits for each key and counter (splitmix64); the arrays are broadcast."""
    x = keys + counters.astype(np.uint64) * _STEP
    x = (x ^ (x >> _SHIFTS[0])) * _FIRST
    x = (x ^ (x >> _SHIFTS[1])) * _SECOND
    return x ^ (x >> _SHIFTS[2])


def uniforms(random: Bits) -> tuple[Floats, Floats, Floats, Floats]:
    """Four independent numbers in [0, 1) from each word."""
    a, b, c, d = (((random >> lane) & _MASK).astype(np.float64) * _UNIT for lane in _LANES)
    return a, b, c, d


def normal(random: Bits) -> Floats:
    """About a standard normal number (never beyond 3.5) from each word."""
    a, b, c, d = uniforms(random)
    return (a + b + c + d - 2.0) * _TO_UNIT_VARIANCE


def exponential(x: Floats) -> Floats:
    """E to the x to eight digits, out of multiplications only: a library's exp differs in its last bit between
    processors.
    """
    y = 1.0 + x * (1.0 / 4096.0) + x * x * (0.5 / 16777216.0)
    for _ in range(12):
        y = y * y
    return y
