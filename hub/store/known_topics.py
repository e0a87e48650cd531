"""Which topics' usage counts: those that a dataset has, or had. Usage of any other topic was not metered by this hub's lanes.

A topic is known by its id, since names are used again. ``dataset_topics`` is written where a topic becomes a dataset's: at publishing, at
adoption, and when a serve takes over. Ids whose usage an earlier hub has posted are known too.
"""

import time

import msgspec
from sqlalchemy import Connection, insert, select

from hub.model.dataset import DatasetEntry
from hub.store.ledger_tables import DATASET_TOPICS, USAGE_CHAINS
from hub.store.tables import datasets


def remember_topic(connection: Connection, *, scope: str, dataset: str, topic: str, topic_id: str) -> None:
    """Keep that ``topic_id`` is a topic of ``dataset``; again is no error."""
    table = DATASET_TOPICS
    same = (table.c.scope == scope, table.c.topic_id == topic_id)
    if connection.execute(select(table.c.topic_id).where(*same)).first() is None:
        row = {"scope": scope, "topic_id": topic_id, "dataset": dataset, "topic": topic, "since_ms": time.time_ns() // 1_000_000}
        connection.execute(insert(table).values(row))


def known_topics(connection: Connection, *, scope: str, topic_id: str | None = None) -> dict[str, int | None]:
    """Return how many lanes each topic has whose usage counts, None where its dataset is gone; of ``topic_id`` alone if given.

    They are as many as the dataset's entry says: partitions that somebody has added to a topic have no lane.
    """
    listed, posted = DATASET_TOPICS, USAGE_CHAINS
    entry = (datasets.c.scope == listed.c.scope) & (datasets.c.dataset == listed.c.dataset)
    ours = select(listed.c.topic_id, datasets.c.entry).outerjoin(datasets, entry).where(listed.c.scope == scope)
    earlier = select(posted.c.topic_id).where(posted.c.scope == scope, posted.c.step > 0).distinct()
    if topic_id is not None:
        ours, earlier = ours.where(listed.c.topic_id == topic_id), earlier.where(posted.c.topic_id == topic_id)
    found: dict[str, int | None] = dict.fromkeys(connection.scalars(earlier))
    for row in connection.execute(ours):
        found[row.topic_id] = None if row.entry is None else msgspec.json.decode(row.entry, type=DatasetEntry).partitions
    return found
