"""Tables of the store itself, and those that rooms of one line read: they do not know each other. Times are UTC milliseconds.

Other tables stand in the room that owns them (``hub.catalogue.tables``, ``hub.agreements.tables``, ``hub.ledger.tables``). All of them
are what the revisions of ``hub.store.migrations`` come to, as a test holds. ``acts`` is only ever inserted into (``hub.store.acts``);
triggers of the first revision hold that. ``plan_entries`` holds every signed entry of hub.plan ever made, so that hub.plan can be repaired
from it: the newest revision of an object is the truth. Rooms above write the rows.
"""

import sqlalchemy as sa
from sqlalchemy import Engine

from hub.model.errors import HubError
from hub.store.engine import METADATA, reading

STORE_VERSION = 3
"""Number of the newest revision (``hub.store.migrations``); noted in the database, so that hubs that know no revisions refuse it too."""

store_version = sa.Table(
    "store_version",
    METADATA,
    sa.Column("part", sa.String(20), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

leases = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False, comment="grows with every one who takes the lease; an older one may not write"),
    sa.Column("holder", sa.String(200), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("epoch >= 1", name="leases_epoch"),
    comment="Who leads: each transaction that writes for a leader holds its epoch against the row here",
)

acts = sa.Table(
    "acts",
    METADATA,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("act_id", sa.String(26), nullable=False, unique=True),
    sa.Column("scope", sa.String(12), nullable=False),
    sa.Column("actor_person_id", sa.String(80), nullable=False),
    sa.Column("actor_org_id", sa.String(40), nullable=False),
    sa.Column("role", sa.String(40), nullable=False),
    sa.Column("auth_method", sa.String(40), nullable=False),
    sa.Column("act", sa.String(60), nullable=False),
    sa.Column("object_type", sa.String(40), nullable=False),
    sa.Column("object_id", sa.String(300), nullable=False),
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
    info={"retention_class": "evidence_permanent"},
)

act_signatures = sa.Table(
    "act_signatures",
    METADATA,
    sa.Column("act_id", sa.String(26), primary_key=True),
    sa.Column("key_id", sa.String(16), nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
    info={"retention_class": "evidence_permanent"},
)
"""The officer's signature over the hash of an act: what stands behind the newest anchor is held to it (``hub.store.act_chain``)."""

agreements = sa.Table(
    "agreements",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
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
    info={"retention_class": "accounting_30y"},
)

plan_entries = sa.Table(
    "plan_entries",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("kind", sa.String(12), primary_key=True),
    sa.Column("object_id", sa.String(100), primary_key=True),
    sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("appended_offset", sa.BigInteger),
    sa.Column("correlation_id", sa.String(26), nullable=False, index=True),
    sa.Column("narrows", sa.String(81)),
    info={"retention_class": "evidence_permanent"},
)
"""``value``: the framed, signed record. ``appended_offset``: null until hub.plan acknowledged it. ``narrows``: the dataset whose
lanes must be fenced after the append, null where nothing narrows."""


def has_acts(engine: Engine) -> bool:
    """Tell whether anything was ever done with this database; HUB-STORE-001 when it does not answer."""
    with reading(engine) as connection:
        known = acts.name in sa.inspect(connection).get_table_names()
        return known and connection.scalar(sa.select(acts.c.seq).limit(1)) is not None


def require_scope(engine: Engine, scope: str) -> None:
    """Hold that the database is of the hub of this scope: HUB-STORE-003. Its acts are one chain, and the anchor is one hub's own."""
    with reading(engine) as connection:
        found = connection.scalar(sa.select(acts.c.scope).order_by(acts.c.seq).limit(1))
    if found is not None and found != scope:
        raise HubError(
            "HUB-STORE-003",
            f"the acts of the database begin with scope `{found}`, this hub is of scope `{scope}`",
            "give each hub a database of its own; where `scope` was changed in the settings, set it back: it is part of every pseudonym",
        )
