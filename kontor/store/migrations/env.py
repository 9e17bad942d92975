"""What Alembic runs: the connection, and the transaction it is in, come from `kontor.store.migrate`."""

from alembic import context

from kontor.store.tables.shared import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
