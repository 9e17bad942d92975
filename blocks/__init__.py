"""Prefect blocks: the connections and secrets of a desk."""
