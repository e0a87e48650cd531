"""Tables of the catalogue: datasets with the topics they have or had, schemas and their versions. Times are UTC milliseconds."""

import sqlalchemy as sa

from hub.store.engine import METADATA

datasets = sa.Table(
    "datasets",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("dataset", sa.String(81), primary_key=True),
    sa.Column("entry", sa.Text, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.CheckConstraint("state IN ('applied', 'published')", name="datasets_state"),
    info={"retention_class": "accounting_30y"},
)

dataset_topics = sa.Table(
    "dataset_topics",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("topic_id", sa.String(36), primary_key=True),
    sa.Column("dataset", sa.String(81), nullable=False),
    sa.Column("topic", sa.String(249), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    comment="Every topic that a dataset has or had, by its id: usage of any other is posted to nobody",
    info={"retention_class": "accounting_30y"},
)

schemas = sa.Table(
    "schemas",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("schema_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.UniqueConstraint("scope", "fingerprint", name="schemas_fingerprint"),
    info={"retention_class": "accounting_30y"},
)

schema_forms = sa.Table(
    "schema_forms",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("schema_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("form", sa.String(64), nullable=False),
    sa.ForeignKeyConstraint(["scope", "schema_id"], ["schemas.scope", "schemas.schema_id"], name="schema_forms_schema"),
    sa.Index("schema_forms_by_form", "scope", "form"),
    info={"retention_class": "accounting_30y"},
)
"""``form``: the SHA-256 of the schema's normal form, the same for every spelling of one schema. Made anew from ``schemas`` where a row
is missing, as in databases that are older than this table."""

subject_versions = sa.Table(
    "subject_versions",
    METADATA,
    sa.Column("scope", sa.String(12), primary_key=True),
    sa.Column("subject", sa.String(300), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schema_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), nullable=False),
    sa.Column("since_ms", sa.BigInteger, nullable=False),
    sa.ForeignKeyConstraint(["scope", "schema_id"], ["schemas.scope", "schemas.schema_id"], name="subject_versions_schema"),
    sa.UniqueConstraint("scope", "subject", "schema_id", name="subject_versions_once"),
    info={"retention_class": "accounting_30y"},
)
