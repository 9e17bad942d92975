"""What the tables share."""

from sqlalchemy import BigInteger, Column, Integer, MetaData, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives out row numbers by itself only for a column of type INTEGER.
Sequence = BigInteger().with_variant(Integer, "sqlite")


def account_column() -> Column[str]:
    """The account a row belongs to, as the first part of its key."""
    return Column("account", Text, primary_key=True)
