"""The hub's topics carry the configuration that is told in docs/reference/shapes.md "Topics", and nothing else decides it."""

from hub.broker.topics import TopicSpec, dept_topic, plan_topic, quarantine_topic, share_topic, usage_topic
from hub.model.names import Names

NAMES = Names("330100", prefix="p.")
DAY_MS = 24 * 3600 * 1000


OF_EACH = {"min.insync.replicas", "max.message.bytes"}


def _rest(spec: TopicSpec) -> tuple[str, int, dict[str, str]]:
    return spec.name, spec.partitions, {key: value for key, value in spec.config.items() if key not in OF_EACH}


def test_topics_are_as_the_table_says() -> None:
    """Topics are expensive to change once data exists."""
    replication = 1
    assert _rest(dept_topic(NAMES, "a/b", partitions=4, replication=replication)) == (
        "p.dept.a.b",
        4,
        {"retention.ms": str(7 * DAY_MS), "message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"},
    )
    assert _rest(share_topic(NAMES, consumer="c", agreement="d", partitions=4, replication=replication)) == (
        "p.share.c.d",
        4,
        {"retention.ms": str(7 * DAY_MS), "message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"},
    )
    assert _rest(quarantine_topic(NAMES, "a/b", partitions=4, replication=replication)) == (
        "p.quarantine.a.b",
        4,
        {"retention.ms": str(3 * DAY_MS), "message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"},
    )
    assert _rest(usage_topic(NAMES, replication=replication)) == (
        "p.hub.usage",
        4,
        {"retention.ms": "-1", "retention.bytes": "-1", "message.timestamp.type": "LogAppendTime", "cleanup.policy": "delete"},
    )
    assert _rest(plan_topic(NAMES, replication=replication)) == (
        "p.hub.plan",
        1,
        {
            "cleanup.policy": "compact",
            "message.timestamp.type": "LogAppendTime",
            "min.compaction.lag.ms": str(7 * DAY_MS),
            "segment.ms": str(10 * 60 * 1000),
            "min.cleanable.dirty.ratio": "0.1",
        },
    )


def test_an_acknowledged_record_is_on_two_brokers_where_there_are_three() -> None:
    """Power loss is survived with replication 3 and two in sync; one broker cannot ask for two."""
    assert plan_topic(NAMES, replication=1).config["min.insync.replicas"] == "1"
    assert plan_topic(NAMES, replication=3).config["min.insync.replicas"] == "2"


def test_a_topic_takes_what_a_lane_writes_whatever_the_cluster_takes() -> None:
    """A cluster with a narrower bound would refuse whole batches; one that takes more is as well."""
    spec = dept_topic(NAMES, "a/b", partitions=4, replication=1)

    assert spec.config["max.message.bytes"] == "1048588"
    assert spec.differs(spec.config) == ()
    assert spec.differs({**spec.config, "max.message.bytes": "1048589"}) == ()
    assert spec.differs({**spec.config, "max.message.bytes": "1048587"}) == ("max.message.bytes",)
    assert spec.differs({}) == tuple(sorted(spec.config))
