"""Alembic's folder: `env.py` and the revisions, run by `kontor.store.migrate`."""

# The newest revision; a test holds it against the files in versions/.
HEAD = "0005"
