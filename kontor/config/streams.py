"""The section `streams` of kontor.yaml: what is listened to, and how patiently."""

from typing import Annotated

from pydantic import Field

from kontor.config.base import Settings


class StreamSettings(Settings):
    """What stream-market and stream-account do; each venue streams what it can of it."""

    tickers: bool = True
    candles: bool = True
    trades: bool = True
    # The last trades of each market that are kept as shared state (`kontor get trades`); 0: none.
    trades_kept: Annotated[int, Field(ge=0, le=500)] = 20
    # How often news go to the store, at most.
    flush_milliseconds: Annotated[int, Field(ge=10, le=10_000)] = 100
    # Prices that do not move for so long are no longer believed to be streamed.
    data_silence_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    # How often stream-account compares itself with the exchange by REST, beside every reconnect.
    reconcile_seconds: Annotated[int, Field(ge=5, le=3600)] = 60
    # New connections within 10 minutes, both streams together; venues ban addresses that open more.
    connections_per_10_minutes: Annotated[int, Field(ge=4, le=10_000)] = 150
