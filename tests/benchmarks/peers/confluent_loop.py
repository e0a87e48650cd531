"""Peer: confluent-kafka (librdkafka) and fastavro, batches in and out, offsets committed after everything is acknowledged."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from job import COMMIT_EVERY_S, OUTPUT_PARTITIONS, Task


def consumer_of(task: Task) -> Consumer:
    """Return a consumer set up for throughput."""
    return Consumer(
        {
            "bootstrap.servers": task.bootstrap,
            "group.id": task.group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "fetch.min.bytes": 65_536,
            "fetch.wait.max.ms": 100,
            "fetch.message.max.bytes": 4 * 1024 * 1024,
            "queued.min.messages": 200_000,
            "check.crcs": False,
        }
    )


class Outputs:
    """The producer, and what it could not deliver."""

    def __init__(self, task: Task) -> None:
        """Set it up for throughput."""
        self.failed: list[KafkaError] = []
        self._producer = Producer(
            {
                "bootstrap.servers": task.bootstrap,
                "compression.type": task.codec,
                "linger.ms": 20,
                "batch.size": 262_144,
                "acks": "all",
                "enable.idempotence": True,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_048_576,
            }
        )

    def add(self, topic: str, partition: int, key: bytes, value: bytes) -> None:
        """Hand a record over, waiting where the queue is full."""
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def poll(self) -> None:
        """Take acknowledgements."""
        self._producer.poll(0)

    def flush(self) -> None:
        """Return once everything is acknowledged."""
        if self._producer.flush(60) or self.failed:
            raise SystemExit("not everything was acknowledged")

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failed.append(error)


def main() -> None:
    """Read to the expected number of records."""
    task = Task()
    consumer, outputs = consumer_of(task), Outputs(task)
    consumer.subscribe([task.topic])
    positions: dict[int, int] = {}
    add, deliver = outputs.add, task.deliver
    records, committed_at = 0, time.monotonic()
    while records < task.expect:
        messages = consumer.consume(2_000, 0.2)
        if messages:
            task.begin()
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
            partition, key = message.partition(), message.key()
            positions[partition] = message.offset() + 1
            for one, value in deliver(message.value()):
                add(one.topic, partition % OUTPUT_PARTITIONS, key, value)
        outputs.poll()
        records += len(messages)
        if records >= task.expect or time.monotonic() - committed_at > COMMIT_EVERY_S:
            outputs.flush()
            consumer.commit(offsets=[TopicPartition(task.topic, *place) for place in positions.items()], asynchronous=False)
            committed_at = time.monotonic()
    task.report(records)
    consumer.close()


if __name__ == "__main__":
    main()
