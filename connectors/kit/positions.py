"""A source connector's position on the wire: the metadata of a transactional offset commit, ``1;<topic id>;<position>``.

Told in docs/reference/shapes.md "Positions". At most 4,000 bytes, checked before anything is sent: the broker refuses more than
4,096, and a refusal in the middle of a transaction leaves kafka-python's producer without a way on.
"""

import uuid
from typing import Final

import msgspec

from hub.model.errors import HubError

POSITION_BYTES_MAX: Final = 4_000
_VERSION: Final = "1"
_FIX: Final = (
    "records may have been published that this position does not know of: find out who changed the topic, the group or the state folder; "
    "`cityhub connector run --anew` publishes every input again"
)


class Held(msgspec.Struct, frozen=True):
    """A position that Kafka holds."""

    topic_id: str
    position: str


def write_position(position: str, *, topic_id: str) -> str:
    """Return the metadata of an offset commit; HUB-CONN-005 where it would be too long."""
    text = f"{_VERSION};{topic_id};{position}"
    if len(text.encode()) > POSITION_BYTES_MAX:
        raise HubError("HUB-CONN-005", f"the position is over {POSITION_BYTES_MAX} bytes", "keep what grows in the connector's state file")
    return text


def read_position(metadata: str) -> Held:
    """Read the metadata of an offset commit; HUB-CONN-005 where it is not one of ours."""
    version, _, rest = metadata.partition(";")
    topic_id, semicolon, position = rest.partition(";")
    if version != _VERSION or not semicolon or not _is_uuid(topic_id):
        raise unusable("the position that Kafka holds cannot be read")
    return Held(topic_id, position)


def unusable(cause: str) -> HubError:
    """Return the error of a position that must not be built upon."""
    return HubError("HUB-CONN-005", cause, _FIX)


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
