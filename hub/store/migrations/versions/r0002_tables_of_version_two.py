"""What came with version two: signatures of acts, forms of schemas, withdrawals, topics by their ids, and losses of hub.usage.

Hubs of version two made what was missing and noted nothing of it, so a database may have some of these: those are left.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002_tables_of_version_two"
down_revision = "0001_first_tables"


def upgrade() -> None:
    """Make those that are not there."""
    known = set(sa.inspect(op.get_bind()).get_table_names())
    for name, make in TABLES.items():
        if name not in known:
            make()


def _scope() -> sa.Column[str]:
    return sa.Column("scope", sa.String(12), primary_key=True)


def _act_signatures() -> None:
    op.create_table(
        "act_signatures",
        sa.Column("act_id", sa.String(26), primary_key=True),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )


def _schema_forms() -> None:
    op.create_table(
        "schema_forms",
        _scope(),
        sa.Column("schema_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("form", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(["scope", "schema_id"], ["schemas.scope", "schemas.schema_id"], name="schema_forms_schema"),
    )
    op.create_index("schema_forms_by_form", "schema_forms", ["scope", "form"])


def _withdrawals() -> None:
    op.create_table(
        "withdrawals",
        _scope(),
        sa.Column("correlation_id", sa.String(26), primary_key=True),
        sa.Column("agreement_id", sa.String(40), nullable=False, index=True),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("act", sa.String(60), nullable=False),
        sa.Column("plan_offset", sa.BigInteger, nullable=False),
        sa.Column("answer", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )


def _dataset_topics() -> None:
    op.create_table(
        "dataset_topics",
        _scope(),
        sa.Column("topic_id", sa.String(36), primary_key=True),
        sa.Column("dataset", sa.String(81), nullable=False),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        comment="Every topic that a dataset has or had, by its id: usage of any other is posted to nobody",
    )


def _usage_loss() -> None:
    op.create_table(
        "usage_loss",
        _scope(),
        sa.Column("usage_partition", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, comment="1, 2 … in this partition"),
        sa.Column(
            "loss_id", sa.String(12), nullable=False, comment="what was shown to whoever accepted it, one for all partitions that lost"
        ),
        sa.Column("old_topic_id", sa.String(36), nullable=False),
        sa.Column(
            "usage_topic_id", sa.String(36), nullable=False, comment="the same where the topic was cut, another where it was made again"
        ),
        sa.Column("lost_from", sa.BigInteger, nullable=False),
        sa.Column("lost_to", sa.BigInteger, nullable=False, comment="first offset that hub.usage still had"),
        sa.Column(
            "position",
            sa.BigInteger,
            nullable=False,
            comment="where the collector stood; what lay between it and lost_to was not posted",
        ),
        sa.Column("correlation_id", sa.String(26), nullable=False, comment="of the act, whose after_hash covers these rows"),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column(
            "base",
            sa.LargeBinary,
            nullable=False,
            comment="the partition's chains, hours and refused records as they stood, zlib of msgpack",
        ),
        sa.CheckConstraint("lost_from >= 0 AND lost_to >= 0 AND position >= 0 AND number >= 1", name="loss_in_order"),
        comment="What of hub.usage was lost for good and accepted by an officer: from base on the ledger is held to its steps again",
    )


def _usage_bridge() -> None:
    op.create_table(
        "usage_bridge",
        _scope(),
        sa.Column("usage_partition", sa.Integer, primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, comment="of the loss"),
        sa.Column("topic_id", sa.String(36), primary_key=True, comment="of the chain's source topic"),
        sa.Column("source_partition", sa.Integer, primary_key=True),
        sa.Column("pass_id", sa.String(40), primary_key=True),
        sa.Column("after_step", sa.BigInteger, nullable=False, comment="last step before the loss; 0: none"),
        sa.Column("after_offset", sa.BigInteger, nullable=False, comment="source offset from which on no usage step is left"),
        sa.Column("step", sa.BigInteger, nullable=False, comment="first step behind the loss"),
        sa.Column("first_offset", sa.BigInteger, nullable=False, comment="source offset where it begins"),
        sa.Column("prev_hash", sa.String(64), nullable=False, comment="of the step before it, as it says itself: that step is lost"),
        sa.Column("usage_offset", sa.BigInteger, nullable=False, comment="where it stands in hub.usage"),
        sa.CheckConstraint("step > after_step + 1 AND first_offset > after_offset", name="bridge_leads_on"),
        comment="Chains that went on behind a loss: the source offsets between are billed to nobody",
    )


def _deliveries_unmetered() -> None:
    op.create_table(
        "deliveries_unmetered",
        _scope(),
        sa.Column("share_topic", sa.String(249), primary_key=True),
        sa.Column("share_partition", sa.Integer, primary_key=True),
        sa.Column("room", sa.BigInteger, sa.CheckConstraint("room >= 0", name="room_not_negative"), nullable=False),
        sa.Column("records", sa.BigInteger, sa.CheckConstraint("records >= 0", name="records_not_negative"), nullable=False),
        sa.CheckConstraint("records <= room", name="within_what_was_lost"),
        comment="Deliveries whose usage steps were lost, as a check counted them once; room is how many source offsets were lost by then",
    )


def _topics_seen() -> None:
    op.create_table(
        "topics_seen",
        sa.Column("scope", sa.String(16), primary_key=True),
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("topic_id", sa.String(36), primary_key=True),
        comment="Each id that a share topic of this hub was seen under by the serve that leads",
    )


TABLES = {
    "act_signatures": _act_signatures,
    "schema_forms": _schema_forms,
    "withdrawals": _withdrawals,
    "dataset_topics": _dataset_topics,
    "topics_seen": _topics_seen,
    "usage_loss": _usage_loss,
    "usage_bridge": _usage_bridge,
    "deliveries_unmetered": _deliveries_unmetered,
}
"""Every table of version two that version one did not have: a database with all of them needs nothing of this revision."""
