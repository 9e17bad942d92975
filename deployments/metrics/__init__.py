"""Figures for Prometheus: every process of a desk serves its own, and one command serves them all at one address."""
