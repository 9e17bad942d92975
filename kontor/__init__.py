"""The core of Kontor: orders, accounts, markets and everything that reaches them. It knows nothing of Prefect."""
