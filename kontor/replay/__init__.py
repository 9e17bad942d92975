"""Replay: strategies on recorded candles, in one process on one virtual clock, against the paper exchange's engine."""
