"""Which topics' usage counts: those that a dataset has, or had. Usage of any other topic was not metered by this hub's lanes.

A topic is known by its id, since names are used again. ``dataset_topics`` is written where a topic becomes a dataset's: at publishing, at
adoption, and when a serve takes over. Ids whose usage an earlier hub has posted are known too.
"""

import time

from sqlalchemy import Connection, insert, select

from hub.store.ledger_tables import DATASET_TOPICS, USAGE_CHAINS


def remember_topic(connection: Connection, *, scope: str, dataset: str, topic: str, topic_id: str) -> None:
    """Keep that ``topic_id`` is a topic of ``dataset``; again is no error."""
    table = DATASET_TOPICS
    same = (table.c.scope == scope, table.c.topic_id == topic_id)
    if connection.execute(select(table.c.topic_id).where(*same)).first() is None:
        row = {"scope": scope, "topic_id": topic_id, "dataset": dataset, "topic": topic, "since_ms": time.time_ns() // 1_000_000}
        connection.execute(insert(table).values(row))


def is_known(connection: Connection, topic_id: str, *, scope: str) -> bool:
    """Tell whether usage of this topic counts."""
    listed = select(DATASET_TOPICS.c.topic_id).where(DATASET_TOPICS.c.scope == scope, DATASET_TOPICS.c.topic_id == topic_id)
    posted = select(USAGE_CHAINS.c.topic_id).where(
        USAGE_CHAINS.c.scope == scope, USAGE_CHAINS.c.topic_id == topic_id, USAGE_CHAINS.c.step > 0
    )
    return any(connection.execute(query.limit(1)).first() is not None for query in (listed, posted))


def known_topics(connection: Connection, *, scope: str) -> frozenset[str]:
    """Return the ids of every topic whose usage counts."""
    listed = connection.scalars(select(DATASET_TOPICS.c.topic_id).where(DATASET_TOPICS.c.scope == scope))
    posted = connection.scalars(select(USAGE_CHAINS.c.topic_id).where(USAGE_CHAINS.c.scope == scope, USAGE_CHAINS.c.step > 0).distinct())
    return frozenset(listed) | frozenset(posted)
