"""Which topics' usage counts: those that a dataset has, or had. Usage of any other topic was not metered by this hub's lanes.

Ids whose usage an earlier hub has posted are known too.
"""

from sqlalchemy import Connection, select

from hub.catalogue.topics import topics_of_datasets
from hub.ledger.tables import USAGE_CHAINS


def known_topics(connection: Connection, *, scope: str, topic_id: str | None = None) -> dict[str, int | None]:
    """Return how many lanes each topic has whose usage counts, None where its dataset is gone; of ``topic_id`` alone if given."""
    posted = USAGE_CHAINS
    earlier = select(posted.c.topic_id).where(posted.c.scope == scope, posted.c.step > 0).distinct()
    if topic_id is not None:
        earlier = earlier.where(posted.c.topic_id == topic_id)
    found: dict[str, int | None] = dict.fromkeys(connection.scalars(earlier))
    return found | topics_of_datasets(connection, scope=scope, topic_id=topic_id)
