"""Ids under which topics were seen: a topic that was deleted and made again has another one, and what it held is gone with it."""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Column, Connection, String, Table

from hub.store.engine import METADATA

TOPICS_SEEN: Final = Table(
    "topics_seen",
    METADATA,
    Column("scope", String(16), primary_key=True),
    Column("topic", String(249), primary_key=True),
    Column("topic_id", String(36), primary_key=True),
    comment="Each id that a share topic of this hub was seen under by the serve that leads",
)


def topics_seen(connection: Connection, *, scope: str) -> dict[str, set[str]]:
    """Return the ids under which each topic was seen."""
    found: dict[str, set[str]] = {}
    for row in connection.execute(sa.select(TOPICS_SEEN).where(TOPICS_SEEN.c.scope == scope)):
        found.setdefault(row.topic, set()).add(row.topic_id)
    return found


def note_topics(connection: Connection, ids: Mapping[str, str], *, scope: str) -> None:
    """Keep topic and id of each of ``ids`` that is not kept yet."""
    known = topics_seen(connection, scope=scope)
    new = [
        {"scope": scope, "topic": topic, "topic_id": topic_id} for topic, topic_id in ids.items() if topic_id not in known.get(topic, ())
    ]
    if new:
        connection.execute(TOPICS_SEEN.insert(), new)
