"""Peer: a stock Faust agent, one event at a time, as its documentation shows it; on uvloop, with larger buffers and some linger."""

import mode.loop

mode.loop.use("uvloop")

import os  # noqa: E402 - the loop is to be chosen before Faust is imported
import sys  # noqa: E402
import tempfile  # noqa: E402
from typing import Any  # noqa: E402

import faust  # noqa: E402
from job import OUTPUT_PARTITIONS, Task  # noqa: E402

task = Task()
sys.argv[1:] = []
app = faust.App(
    task.group,
    broker=f"kafka://{task.bootstrap}",
    datadir=tempfile.mkdtemp(prefix="benchmark-faust-", dir=os.environ.get("TMPDIR")),
    key_serializer="raw",
    value_serializer="raw",
    consumer_auto_offset_reset="earliest",
    consumer_max_fetch_size=1024 * 1024,
    stream_buffer_maxsize=16_384,
    broker_max_poll_records=5_000,
    broker_commit_interval=5.0,
    broker_commit_every=100_000,
    producer_linger_ms=20,
    producer_max_batch_size=262_144,
    producer_acks=-1,
    producer_compression_type=None if task.codec == "none" else task.codec,
    web_enabled=False,
    topic_disable_leader=True,
    topic_allow_declare=False,
)


def raw(name: str) -> Any:
    """Return a topic of bytes."""
    return app.topic(name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


outputs = {one.topic: raw(one.topic) for one in task.agreements}
records = 0


@app.agent(raw(task.topic))
async def exchange(stream: Any) -> None:
    """Send what each agreement grants of each event."""
    global records  # noqa: PLW0603 - one agent, one counter
    async for event in stream.events():
        task.begin()
        partition = event.message.partition % OUTPUT_PARTITIONS
        for one, value in task.deliver(event.value):
            await outputs[one.topic].send(key=event.key, value=value, partition=partition)
        records += 1
        if records >= task.expect:
            await app.producer.flush()
            await app.consumer.commit()
            task.report(records)
            os._exit(0)  # Faust's own stop takes seconds that are not the job's


if __name__ == "__main__":
    faust.Worker(app, loglevel="WARN").execute_from_commandline()
