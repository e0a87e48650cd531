"""Leases: who leads, by a number that grows with every one who takes over."""

import sqlalchemy as sa
from alembic import op

revision = "0003_leases"
down_revision = "0002_tables_of_version_two"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "leases",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False, comment="grows with every one who takes the lease; an older one may not write"),
        sa.Column("holder", sa.String(200), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint("epoch >= 1", name="leases_epoch"),
        comment="Who leads: each transaction that writes for a leader holds its epoch against the row here",
    )
