"""Any exchange ccxt knows, behind the port Exchange. Importing this package alone does not load ccxt.

`opening.open_exchange` puts one together; `sessions.SessionPool` shares one per account within a process.
"""
