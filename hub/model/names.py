"""Names of topics, groups and transactional ids: the one place where they are put together.

Told in docs/reference/shapes.md "Names and ids" and "Topics".
"""

import re
from typing import NamedTuple

import msgspec

from hub.model.errors import HubError
from hub.model.written import identifier

LIVE = "live"
PARTITION_DIGITS_MAX = 9
"""More are no partition of any topic, and more than a database column holds."""
_SLUG = re.compile(r"[a-z][a-z0-9-]{0,39}\Z")
_SCOPE = re.compile(r"[0-9]{6,12}\Z")


class TopicPartition(NamedTuple):
    """A topic and one of its partitions."""

    topic: str
    partition: int

    def __str__(self) -> str:
        """Return ``topic-partition``, as Kafka's own tools print it."""
        return f"{self.topic}-{self.partition}"

    @classmethod
    def parse(cls, text: str) -> "TopicPartition":
        """Read ``topic-partition``; HUB-NAME-003 when it is none."""
        topic, dash, number = text.rpartition("-")
        if not dash or not topic or not (number.isascii() and number.isdigit() and len(number) <= PARTITION_DIGITS_MAX):
            raise HubError("HUB-NAME-003", f"`{identifier(text)}` is no partition of a topic", "write it as `dept.transport.flights-2`")
        return cls(topic, int(number))


def is_slug(text: str) -> bool:
    """Tell whether ``text`` may name an organisation, dataset, agreement or connector."""
    return _SLUG.match(text) is not None


def dataset_parts(dataset: str) -> tuple[str, str]:
    """Split ``<org>/<dataset>`` into its two slugs; HUB-NAME-001 when it is no such pair."""
    org, slash, slug = dataset.partition("/")
    if not slash or not is_slug(org) or not is_slug(slug):
        raise HubError(
            "HUB-NAME-001",
            f"`{identifier(dataset)}` is no dataset name",
            "write `<org>/<dataset>`, each of lower-case letters, digits and dashes, at most 40, beginning with a letter",
        )
    return org, slug


class Names(msgspec.Struct, frozen=True):
    """The names that one hub uses on its cluster, for one scope and topic prefix."""

    scope: str
    prefix: str = ""

    def __post_init__(self) -> None:
        """Refuse a scope that is no region code."""
        if _SCOPE.match(self.scope) is None:
            raise HubError(
                "HUB-NAME-002", f"scope `{self.scope}` is no region code", "set `scope` to 6-12 digits (GB/T 2260), such as 330100"
            )

    def dept(self, dataset: str) -> str:
        """Return the topic that a department publishes ``<org>/<dataset>`` to."""
        org, slug = dataset_parts(dataset)
        return f"{self.prefix}dept.{org}.{slug}"

    def quarantine(self, dataset: str) -> str:
        """Return the topic for records of ``<org>/<dataset>`` that could not be read or transformed."""
        org, slug = dataset_parts(dataset)
        return f"{self.prefix}quarantine.{org}.{slug}"

    def share(self, *, consumer: str, agreement: str) -> str:
        """Return the topic that an agreement's records are delivered to."""
        return f"{self.prefix}share.{consumer}.{agreement}"

    @property
    def plan(self) -> str:
        """The compacted topic of signed plan entries, one partition."""
        return f"{self.prefix}hub.plan"

    @property
    def usage(self) -> str:
        """The topic of usage steps, four partitions, kept for ever."""
        return f"{self.prefix}hub.usage"

    def dept_subject(self, dataset: str) -> str:
        """Return the registry subject of a dataset's records (TopicNameStrategy)."""
        return f"{self.dept(dataset)}-value"

    def dataset_of_subject(self, subject: str) -> str | None:
        """Return the dataset whose records a subject is of; None where it is of none."""
        org, dot, slug = subject.removeprefix(f"{self.prefix}dept.").removesuffix("-value").partition(".")
        dataset = f"{org}/{slug}"
        return dataset if dot and is_slug(org) and is_slug(slug) and self.dept_subject(dataset) == subject else None

    def share_subject(self, *, consumer: str, agreement: str) -> str:
        """Return the registry subject of an agreement's output schemas (TopicNameStrategy)."""
        return f"{self.share(consumer=consumer, agreement=agreement)}-value"

    @property
    def exchange_group(self) -> str:
        """The consumer group of the exchange; the lanes' positions stand there."""
        return f"{self.scope}-exchange"

    @property
    def standing_group(self) -> str:
        """The consumer group in whose metadata workers tell how their lanes stand."""
        return f"{self.scope}-exchange-standing"

    @property
    def acts_group(self) -> str:
        """The consumer group in whose metadata the anchor of the acts stands."""
        return f"{self.scope}-acts"

    def transactional_id(self, lane: TopicPartition, *, pass_id: str = LIVE) -> str:
        """Return the transactional id of one lane; whoever initialises it fences the lane."""
        tail = "" if pass_id == LIVE else f"-{pass_id}"
        return f"{self.scope}-exchange-{lane.topic}-{lane.partition}{tail}"

    @property
    def touching_id(self) -> str:
        """The transactional id under which new share topics are first written to, without a record."""
        return f"{self.scope}-serve-touch"

    @property
    def plan_writer_id(self) -> str:
        """The transactional id whose epoch the one writer of hub.plan holds; whoever initialises it fences the one before."""
        return f"{self.scope}-serve-plan"

    def connector_group(self, *, connector: str, source_partition: str) -> str:
        """Return the group under which a source connector's position stands."""
        return f"{self.scope}-connect-{connector}-{source_partition}"

    def connector_transactional_id(self, *, connector: str, source_partition: str) -> str:
        """Return the transactional id of one source connector partition."""
        return f"{self.scope}-connector-{connector}-{source_partition}"


def share_namespace(*, consumer: str, agreement: str) -> str:
    """Return the Avro namespace of an agreement's output schema; Avro names forbid dashes."""
    return f"share.{consumer}.{agreement}".replace("-", "_")
