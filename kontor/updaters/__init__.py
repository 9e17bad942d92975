"""Updaters defined by configuration alone: their steps, what a step may call, and the state the steps share by name."""
