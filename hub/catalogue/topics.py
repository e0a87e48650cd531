"""The topics that datasets have or had, by their ids, since names are used again.

``dataset_topics`` is written where a topic becomes a dataset's: at publishing, at adoption, and when a serve takes over.
"""

import time

import msgspec
from sqlalchemy import Connection, insert, select

from hub.catalogue.tables import dataset_topics, datasets
from hub.model.dataset import DatasetEntry


def remember_topic(connection: Connection, *, scope: str, dataset: str, topic: str, topic_id: str) -> None:
    """Keep that ``topic_id`` is a topic of ``dataset``; again is no error."""
    table = dataset_topics
    same = (table.c.scope == scope, table.c.topic_id == topic_id)
    if connection.execute(select(table.c.topic_id).where(*same)).first() is None:
        row = {"scope": scope, "topic_id": topic_id, "dataset": dataset, "topic": topic, "since_ms": time.time_ns() // 1_000_000}
        connection.execute(insert(table).values(row))


def topics_of_datasets(connection: Connection, *, scope: str, topic_id: str | None = None) -> dict[str, int | None]:
    """Return how many lanes each topic has that a dataset has or had, None where its dataset is gone; of ``topic_id`` alone if given.

    They are as many as the dataset's entry says: partitions that somebody has added to a topic have no lane.
    """
    listed = dataset_topics
    entry = (datasets.c.scope == listed.c.scope) & (datasets.c.dataset == listed.c.dataset)
    wanted = select(listed.c.topic_id, datasets.c.entry).outerjoin(datasets, entry).where(listed.c.scope == scope)
    if topic_id is not None:
        wanted = wanted.where(listed.c.topic_id == topic_id)
    return {
        row.topic_id: None if row.entry is None else msgspec.json.decode(row.entry, type=DatasetEntry).partitions
        for row in connection.execute(wanted)
    }


def topic_names(connection: Connection, *, scope: str) -> dict[str, str]:
    """Return the name of each topic that a dataset has or had, by its id."""
    table = dataset_topics
    rows = connection.execute(select(table.c.topic_id, table.c.topic).where(table.c.scope == scope))
    return {row.topic_id: row.topic for row in rows}
