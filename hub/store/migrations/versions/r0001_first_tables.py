"""The tables of the first hub: acts, catalogue, agreements, hub.plan and the ledger."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from alembic.runtime.migration import MigrationContext

revision = "0001_first_tables"
down_revision = None


def upgrade() -> None:
    """Make them."""
    _control_plane()
    _ledger()


def _scope() -> sa.Column[str]:
    return sa.Column("scope", sa.String(12), primary_key=True)


def _id(name: str, *, primary_key: bool = False) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column(name, kind, primary_key=primary_key, autoincrement=False, nullable=False)


def _counts(*names: str) -> Sequence[sa.Column[int]]:
    return [
        sa.Column(name, sa.BigInteger, sa.CheckConstraint(f"{name} >= 0", name=f"{name}_not_negative"), nullable=False) for name in names
    ]


def _control_plane() -> None:
    op.create_table("store_version", sa.Column("part", sa.String(20), primary_key=True), sa.Column("version", sa.Integer, nullable=False))
    _acts()
    op.create_table(
        "datasets",
        _scope(),
        sa.Column("dataset", sa.String(81), primary_key=True),
        sa.Column("entry", sa.Text, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint("state IN ('applied', 'published')", name="datasets_state"),
    )
    op.create_table(
        "schemas",
        _scope(),
        _id("schema_id", primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.UniqueConstraint("scope", "fingerprint", name="schemas_fingerprint"),
    )
    op.create_table(
        "subject_versions",
        _scope(),
        sa.Column("subject", sa.String(300), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        _id("schema_id"),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.ForeignKeyConstraint(["scope", "schema_id"], ["schemas.scope", "schemas.schema_id"], name="subject_versions_schema"),
        sa.UniqueConstraint("scope", "subject", "schema_id", name="subject_versions_once"),
    )
    op.create_table(
        "agreements",
        _scope(),
        sa.Column("agreement_id", sa.String(40), primary_key=True),
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("dataset", sa.String(81), nullable=False, index=True),
        sa.Column("consumer", sa.String(40), nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("file_name", sa.String(300), nullable=False),
        sa.Column("file_text", sa.Text, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.CheckConstraint("state IN ('draft', 'active', 'suspended', 'ended')", name="agreements_state"),
    )
    op.create_table(
        "plan_entries",
        _scope(),
        sa.Column("kind", sa.String(12), primary_key=True),
        sa.Column("object_id", sa.String(100), primary_key=True),
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("appended_offset", sa.BigInteger),
        sa.Column("correlation_id", sa.String(26), nullable=False, index=True),
        sa.Column("narrows", sa.String(81)),
    )


def _acts() -> None:
    text = {"actor_person_id": 80, "actor_org_id": 40, "role": 40, "auth_method": 40, "act": 60, "object_type": 40, "object_id": 300}
    op.create_table(
        "acts",
        _id("seq", primary_key=True),
        sa.Column("act_id", sa.String(26), nullable=False, unique=True),
        sa.Column("scope", sa.String(12), nullable=False),
        *(sa.Column(name, sa.String(size), nullable=False) for name, size in text.items()),
        sa.Column("object_version", sa.Integer),
        sa.Column("before_hash", sa.String(64)),
        sa.Column("after_hash", sa.String(64)),
        sa.Column("reason", sa.Text),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("correlation_id", sa.String(26), nullable=False, index=True),
        sa.Column("at", sa.String(32), nullable=False),
        sa.Column("prev_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.CheckConstraint("outcome IN ('intended', 'done', 'refused', 'failed')", name="acts_outcome"),
    )
    context: MigrationContext = op.get_context()
    if context.dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(f"CREATE TRIGGER acts_no_{verb} BEFORE {verb} ON acts BEGIN SELECT RAISE(ABORT, 'acts only grow'); END")
        return
    op.execute("CREATE OR REPLACE FUNCTION acts_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'acts only grow'; END $$")
    op.execute("CREATE TRIGGER acts_only_grow BEFORE UPDATE OR DELETE OR TRUNCATE ON acts EXECUTE FUNCTION acts_only_grow()")


def _ledger() -> None:
    op.create_table(
        "usage_position",
        _scope(),
        sa.Column("usage_partition", sa.Integer, primary_key=True, comment="partition of hub.usage"),
        sa.Column("usage_topic_id", sa.String(36), nullable=False, comment="a re-created hub.usage reuses offsets: then nothing is read"),
        sa.Column("next_offset", sa.BigInteger, nullable=False, comment="everything below is in the ledger"),
        sa.CheckConstraint("next_offset >= 0", name="next_offset_not_negative"),
        comment="How far the collector has read each partition of hub.usage; the compare-and-set that lets only one of two post",
    )
    op.create_table(
        "usage_chain",
        _scope(),
        sa.Column(
            "topic_id", sa.String(36), primary_key=True, comment="of the source topic: names and offsets are used again, ids are not"
        ),
        sa.Column("source_partition", sa.Integer, primary_key=True),
        sa.Column("pass_id", sa.String(40), primary_key=True),
        sa.Column("source_topic", sa.String(249), nullable=False),
        sa.Column("usage_partition", sa.Integer, nullable=False),
        sa.Column("step", sa.BigInteger, nullable=False, comment="last step in the ledger; 0: none yet"),
        sa.Column("next_offset", sa.BigInteger, comment="source offset where the next step has to begin; null: none yet"),
        sa.Column("head", sa.String(64), nullable=False, comment="SHA-256 of the last step's record value, framing included"),
        sa.Column("metered_ms", sa.BigInteger, nullable=False, comment="metering time of the last step"),
        sa.Column("held_at", sa.BigInteger, comment="usage offset from which the chain waits; null: it does not"),
        sa.Column("held_reason", sa.String(20)),
        sa.CheckConstraint("(held_at IS NULL) = (held_reason IS NULL)", name="held_has_a_reason"),
        sa.CheckConstraint("(step = 0) = (next_offset IS NULL)", name="opened_at_step_one"),
        comment="Where each chain of usage steps stands: one per source partition and pass",
    )
    _usage_hours()
    op.create_table(
        "usage_refused",
        _scope(),
        sa.Column("usage_partition", sa.Integer, primary_key=True),
        sa.Column("usage_offset", sa.BigInteger, primary_key=True),
        sa.Column("reason", sa.String(20), nullable=False),
        comment="Records of hub.usage that are no usage steps of this hub: counted in nothing, alarmed",
    )
    op.create_table(
        "deliveries_verified",
        _scope(),
        sa.Column("share_topic", sa.String(249), primary_key=True),
        sa.Column("share_partition", sa.Integer, primary_key=True),
        sa.Column("share_topic_id", sa.String(36), nullable=False),
        sa.Column(
            "next_offset", sa.BigInteger, nullable=False, comment="offset of the share partition below which everything was compared"
        ),
        *_counts("metered", "counted"),
        sa.CheckConstraint("metered >= counted", name="counted_was_metered"),
        comment="Up to where a check found deliveries equal to usage; metered less counted is what retention took unverified",
    )


def _usage_hours() -> None:
    op.create_table(
        "usage_hour",
        _scope(),
        sa.Column("agreement_id", sa.String(40), primary_key=True),
        sa.Column("agreement_version", sa.Integer, primary_key=True),
        sa.Column("pass_id", sa.String(40), primary_key=True),
        sa.Column("topic_id", sa.String(36), primary_key=True),
        sa.Column("source_partition", sa.Integer, primary_key=True),
        sa.Column("hour", sa.Integer, primary_key=True, comment="of the steps' metering times"),
        *_counts(
            "offsets", "gaps", "lost", "delivered", "filtered", "denied", "suppressed", "quarantined", "bytes_source", "bytes_delivered"
        ),
        sa.Column("steps", sa.BigInteger, nullable=False, comment="number of usage steps in these sums"),
        sa.Column("first_step", sa.BigInteger, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        sa.Column("usage_partition", sa.Integer, nullable=False),
        sa.Column("first_usage_offset", sa.BigInteger, nullable=False),
        sa.Column("last_usage_offset", sa.BigInteger, nullable=False),
        sa.CheckConstraint("delivered + filtered + denied + suppressed + quarantined + gaps + lost = offsets", name="conservation"),
        sa.CheckConstraint("steps >= 1 AND first_step >= 1 AND last_step >= first_step", name="steps_in_order"),
        sa.CheckConstraint("last_usage_offset >= first_usage_offset", name="usage_offsets_in_order"),
        comment="Usage per agreement version, source partition and hour: sums of every disposition and where they come from",
    )
