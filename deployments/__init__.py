"""Bringing the desk up: command line, worker, server launcher, bootstrap."""
