"""Tables that this room alone reads. ``agreements`` and ``plan_entries`` stand in the store: catalogue and ledger read them too."""

import sqlalchemy as sa

from hub.store.engine import METADATA

withdrawals = sa.Table(
    "withdrawals",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("correlation_id", sa.String(26), primary_key=True),
    sa.Column("agreement_id", sa.String(40), nullable=False, index=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("act", sa.String(60), nullable=False),
    sa.Column("plan_offset", sa.BigInteger, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    info={"retention_class": "evidence_permanent"},
)
"""``answer``: where the right ended in each partition, JSON; written in the transaction that records the act as done."""
