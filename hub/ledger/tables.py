"""Tables of the ledger: how far hub.usage is read, its chains, hourly usage, and what the checks have verified.

Every row carries its ``scope``. Times are UTC milliseconds, hours are whole hours since 1970 (``ms // 3,600,000``), hashes are
hex, topic ids are UUID text. The law of conservation stands here as a CHECK, apart from the code that counts.
``retention_class`` of a table is in its ``info``; what the classes mean is configuration.
"""

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, LargeBinary, String, Table

from hub.store.engine import METADATA

_FOR_ACCOUNTS: Final = {"retention_class": "accounting_30y"}


def _scope() -> Column[str]:
    return Column("scope", String(12), primary_key=True)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, CheckConstraint(f"{name} >= 0", name=f"{name}_not_negative"), nullable=False)


USAGE_POSITIONS: Final = Table(
    "usage_position",
    METADATA,
    _scope(),
    Column("usage_partition", Integer, primary_key=True, comment="partition of hub.usage"),
    Column("usage_topic_id", String(36), nullable=False, comment="a re-created hub.usage reuses offsets: then nothing is read"),
    Column("next_offset", BigInteger, nullable=False, comment="everything below is in the ledger"),
    CheckConstraint("next_offset >= 0", name="next_offset_not_negative"),
    comment="How far the collector has read each partition of hub.usage; the compare-and-set that lets only one of two post",
    info=_FOR_ACCOUNTS,
)

USAGE_CHAINS: Final = Table(
    "usage_chain",
    METADATA,
    _scope(),
    Column("topic_id", String(36), primary_key=True, comment="of the source topic: names and offsets are used again, ids are not"),
    Column("source_partition", Integer, primary_key=True),
    Column("pass_id", String(40), primary_key=True),
    Column("source_topic", String(249), nullable=False),
    Column("usage_partition", Integer, nullable=False),
    Column("step", BigInteger, nullable=False, comment="last step in the ledger; 0: none yet"),
    Column("next_offset", BigInteger, nullable=True, comment="source offset where the next step has to begin; null: none yet"),
    Column("head", String(64), nullable=False, comment="SHA-256 of the last step's record value, framing included"),
    Column("metered_ms", BigInteger, nullable=False, comment="metering time of the last step"),
    Column("held_at", BigInteger, nullable=True, comment="usage offset from which the chain waits; null: it does not"),
    Column("held_reason", String(20), nullable=True),
    CheckConstraint("(held_at IS NULL) = (held_reason IS NULL)", name="held_has_a_reason"),
    CheckConstraint("(step = 0) = (next_offset IS NULL)", name="opened_at_step_one"),
    comment="Where each chain of usage steps stands: one per source partition and pass",
    info=_FOR_ACCOUNTS,
)

USAGE_HOURS: Final = Table(
    "usage_hour",
    METADATA,
    _scope(),
    Column("agreement_id", String(40), primary_key=True),
    Column("agreement_version", Integer, primary_key=True),
    Column("pass_id", String(40), primary_key=True),
    Column("topic_id", String(36), primary_key=True),
    Column("source_partition", Integer, primary_key=True),
    Column("hour", Integer, primary_key=True, comment="of the steps' metering times"),
    _count("offsets"),
    _count("gaps"),
    _count("lost"),
    _count("delivered"),
    _count("filtered"),
    _count("denied"),
    _count("suppressed"),
    _count("quarantined"),
    _count("bytes_source"),
    _count("bytes_delivered"),
    Column("steps", BigInteger, nullable=False, comment="number of usage steps in these sums"),
    Column("first_step", BigInteger, nullable=False),
    Column("last_step", BigInteger, nullable=False),
    Column("usage_partition", Integer, nullable=False),
    Column("first_usage_offset", BigInteger, nullable=False),
    Column("last_usage_offset", BigInteger, nullable=False),
    CheckConstraint("delivered + filtered + denied + suppressed + quarantined + gaps + lost = offsets", name="conservation"),
    CheckConstraint("steps >= 1 AND first_step >= 1 AND last_step >= first_step", name="steps_in_order"),
    CheckConstraint("last_usage_offset >= first_usage_offset", name="usage_offsets_in_order"),
    comment="Usage per agreement version, source partition and hour: sums of every disposition and where they come from",
    info=_FOR_ACCOUNTS,
)

USAGE_REFUSED: Final = Table(
    "usage_refused",
    METADATA,
    _scope(),
    Column("usage_partition", Integer, primary_key=True),
    Column("usage_offset", BigInteger, primary_key=True),
    Column("reason", String(20), nullable=False),
    comment="Records of hub.usage that are no usage steps of this hub: counted in nothing, alarmed",
    info=_FOR_ACCOUNTS,
)

DELIVERIES_VERIFIED: Final = Table(
    "deliveries_verified",
    METADATA,
    _scope(),
    Column("share_topic", String(249), primary_key=True),
    Column("share_partition", Integer, primary_key=True),
    Column("share_topic_id", String(36), nullable=False),
    Column("next_offset", BigInteger, nullable=False, comment="offset of the share partition below which everything was compared"),
    _count("metered"),
    _count("counted"),
    CheckConstraint("metered >= counted", name="counted_was_metered"),
    comment="Up to where a check found deliveries equal to usage; metered less counted is what retention took unverified",
    info=_FOR_ACCOUNTS,
)

USAGE_LOSSES: Final = Table(
    "usage_loss",
    METADATA,
    _scope(),
    Column("usage_partition", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, comment="1, 2 … in this partition"),
    Column("loss_id", String(12), nullable=False, comment="what was shown to whoever accepted it, one for all partitions that lost"),
    Column("old_topic_id", String(36), nullable=False),
    Column("usage_topic_id", String(36), nullable=False, comment="the same where the topic was cut, another where it was made again"),
    Column("lost_from", BigInteger, nullable=False),
    Column("lost_to", BigInteger, nullable=False, comment="first offset that hub.usage still had"),
    Column("position", BigInteger, nullable=False, comment="where the collector stood; what lay between it and lost_to was not posted"),
    Column("correlation_id", String(26), nullable=False, comment="of the act, whose after_hash covers these rows"),
    Column("at_ms", BigInteger, nullable=False),
    Column("base", LargeBinary, nullable=False, comment="the partition's chains, hours and refused records as they stood, zlib of msgpack"),
    CheckConstraint("lost_from >= 0 AND lost_to >= 0 AND position >= 0 AND number >= 1", name="loss_in_order"),
    comment="What of hub.usage was lost for good and accepted by an officer: from base on the ledger is held to its steps again",
    info=_FOR_ACCOUNTS,
)

USAGE_BRIDGES: Final = Table(
    "usage_bridge",
    METADATA,
    _scope(),
    Column("usage_partition", Integer, primary_key=True),
    Column("number", Integer, primary_key=True, comment="of the loss"),
    Column("topic_id", String(36), primary_key=True, comment="of the chain's source topic"),
    Column("source_partition", Integer, primary_key=True),
    Column("pass_id", String(40), primary_key=True),
    Column("after_step", BigInteger, nullable=False, comment="last step before the loss; 0: none"),
    Column("after_offset", BigInteger, nullable=False, comment="source offset from which on no usage step is left"),
    Column("step", BigInteger, nullable=False, comment="first step behind the loss"),
    Column("first_offset", BigInteger, nullable=False, comment="source offset where it begins"),
    Column("prev_hash", String(64), nullable=False, comment="of the step before it, as it says itself: that step is lost"),
    Column("usage_offset", BigInteger, nullable=False, comment="where it stands in hub.usage"),
    CheckConstraint("step > after_step + 1 AND first_offset > after_offset", name="bridge_leads_on"),
    comment="Chains that went on behind a loss: the source offsets between are billed to nobody",
    info=_FOR_ACCOUNTS,
)

DELIVERIES_UNMETERED: Final = Table(
    "deliveries_unmetered",
    METADATA,
    _scope(),
    Column("share_topic", String(249), primary_key=True),
    Column("share_partition", Integer, primary_key=True),
    _count("room"),
    _count("records"),
    CheckConstraint("records <= room", name="within_what_was_lost"),
    comment="Deliveries whose usage steps were lost, as a check counted them once; room is how many source offsets were lost by then",
    info=_FOR_ACCOUNTS,
)
