"""Loads: what fills the source topic while things die. ``pace`` sets rows a second, ``finish`` sends the rest at once."""

import io
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import fastavro
from confluent_kafka import KafkaException, Producer
from crew import Failure, Post
from rows import SCHEMA, csv_text, row
from stage import COMMAND, DATASET, PARTITIONS, Stage

LOOK_S: Final = 0.02
QUIET: Final = 2
"""librdkafka tells of critical things alone: the broker is meant to go away."""
NOISE_NUMBER_FROM: Final = 10**9
"""Rows of transactions that are aborted: nobody may ever see one."""
NOISE_EVERY_S: Final = 1.5
FILE_EVERY_S: Final = 0.7
FILE_ROWS_MAX: Final = 5_000
CONNECTOR_POINTS: Final = ("connector.row_sent", "connector.before_commit", "connector.after_commit")
HIT_WITHIN_S: Final = 60.0
CONNECTOR: Final = f"""\
apiVersion: cityhub/v1
kind: Source
name: passages
type: csv-file
dataset: {DATASET}
folder: inbox
done: done
rejected: rejected
settle_s: 0
"""
_PARSED: Final = fastavro.parse_schema(dict(SCHEMA))


class Load(Protocol):
    """A running load."""

    @property
    def sent(self) -> int:
        """Rows handed over so far."""

    @property
    def finished(self) -> bool:
        """Tell whether everything of it that had to die has died."""

    def pace(self, rows_per_s: float) -> None:
        """Hand over that many rows a second from now on."""

    def tick(self) -> None:
        """Do what is due."""

    def finish(self, *, within_s: float) -> None:
        """Hand over the rest at once and return when Kafka has all of it."""

    def close(self) -> None:
        """Stop, whatever is left."""


def framed(schema_id: int, seed: int, number: int) -> bytes:
    """Return row ``number`` as a Kafka value."""
    out = io.BytesIO(b"\0" + schema_id.to_bytes(4, "big"))
    out.seek(5)
    fastavro.schemaless_writer(out, _PARSED, row(seed, number))
    return out.getvalue()


class ProducerLoad:
    """A department without a connector: one idempotent producer, rows in turn over the partitions."""

    finished = True

    def __init__(self, here: Stage) -> None:
        """Begin to send at once, slowly."""
        self._here = here
        self._rate = 100.0
        self._stop = threading.Event()
        self._sent = 0
        self._acknowledged = 0
        self._failed: list[str] = []
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._thread.start()

    @property
    def sent(self) -> int:
        """Rows handed to the producer."""
        return self._sent

    def pace(self, rows_per_s: float) -> None:
        """Hand over that many rows a second from now on."""
        self._rate = rows_per_s

    def tick(self) -> None:
        """Nothing is due: a thread sends."""

    def finish(self, *, within_s: float) -> None:
        """Hand over the rest at once and return when Kafka has acknowledged all of it."""
        self._rate = float("inf")
        deadline = time.monotonic() + within_s
        while self._acknowledged < self._here.records:
            if self._failed or time.monotonic() > deadline:
                raise Failure(f"the load stands at {self._acknowledged} of {self._here.records}: {self._failed[:1]}")
            time.sleep(LOOK_S)
        self.close()

    def close(self) -> None:
        """Stop."""
        self._stop.set()
        self._thread.join(timeout=30)

    def _send(self) -> None:
        here = self._here
        producer = Producer(
            {
                "bootstrap.servers": here.broker.bootstrap,
                "log_level": QUIET,
                "enable.idempotence": True,
                "linger.ms": 10,
                "message.timeout.ms": 600_000,
                "queue.buffering.max.messages": 1_000_000,
            }
        )
        due, at = 0.0, time.monotonic()
        while not self._stop.is_set() and self._acknowledged < here.records:
            now = time.monotonic()
            due, at = min(here.records, due + self._rate * (now - at)), now
            while self._sent < int(due) and not self._stop.is_set():
                value = framed(here.schema_id, here.seed, self._sent)
                producer.produce(here.topic, value, partition=self._sent % PARTITIONS, on_delivery=self._delivered)
                self._sent += 1
                producer.poll(0)
            producer.poll(LOOK_S)
        producer.flush(5)

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self._acknowledged += 1
        else:
            self._failed.append(str(error))


class ConnectorLoad:
    """A department with the file connector: CSV files are dropped as time goes, and the connector is killed now and then."""

    def __init__(self, here: Stage, *, hits: int, say: Callable[[str], None]) -> None:
        """Start the connector; it is to be killed ``hits`` times at each of its failpoints."""
        self.kills: Counter[str] = Counter()
        self.exits = 0
        self._here, self._say = here, say
        self._dice = random.Random(here.seed)
        aims = [point for point in CONNECTOR_POINTS for _ in range(hits)]
        self._dice.shuffle(aims)
        self._aims = deque(aims)
        self._aim: str | None = None
        self._rate = 100.0
        self._due, self._paid_at = 0.0, time.monotonic()
        self._sent = 0
        self._dropped_at = 0.0
        self._files = 0
        self._inbox, self._done = here.folder / "inbox", here.folder / "done"
        self._inbox.mkdir()
        file = here.folder / "passages.yaml"
        file.write_text(CONNECTOR, encoding="utf-8")
        command = (*COMMAND, "connector", "run", str(file))
        self._post = Post("connector", folder=here.folder, environment=here.environment, command=command)
        self._start()

    @property
    def sent(self) -> int:
        """Rows in files that have been dropped."""
        return self._sent

    @property
    def finished(self) -> bool:
        """Tell whether every kill has been done."""
        return not self._aims and self._aim is None

    def pace(self, rows_per_s: float) -> None:
        """Drop that many rows a second from now on."""
        self._rate = rows_per_s

    def tick(self) -> None:
        """Drop a file when one is due, kill the connector where it hangs, start it where it ended."""
        now = time.monotonic()
        self._due, self._paid_at = self._due + self._rate * (now - self._paid_at), now
        if now - self._dropped_at >= FILE_EVERY_S:
            self._dropped_at = now
            self._drop(int(self._due) - self._sent)
        self._look_after(now)

    def finish(self, *, within_s: float) -> None:
        """Drop the rest and return when the connector has put every file aside as published."""
        deadline = time.monotonic() + within_s
        while self._sent < self._here.records:
            self._drop(FILE_ROWS_MAX)
        while len(list(self._done.glob("*.csv"))) < self._files:
            self._look_after(time.monotonic())
            if time.monotonic() > deadline:
                raise Failure(f"the connector published {len(list(self._done.glob('*.csv')))} of {self._files} files")
            time.sleep(LOOK_S)
        self.close()

    def close(self) -> None:
        """End the connector."""
        self._post.end()

    def _start(self) -> None:
        if self._aim is None and self._aims:
            self._aim = self._aims.popleft()
        most = 300 if self._aim == "connector.row_sent" else 3
        self._post.start(failpoint=self._aim, hit=self._dice.randint(1, most))

    def _look_after(self, now: float) -> None:
        code = self._post.ended_by_itself()
        if code is not None:
            self.exits += 1
            self._say(f"connector ended by itself with {code}")
            self._start()
        elif self._post.hangs() is not None:
            self._post.kill()
            self.kills[str(self._aim)] += 1
            self._say(f"kill -9 connector at {self._aim} (sent {self._sent})")
            self._aim = None
            self._start()
        elif self._aim is not None and now - self._post.started_at > HIT_WITHIN_S:
            raise Failure(f"failpoint {self._aim} was not hit by the connector within {HIT_WITHIN_S:.0f} s")

    def _drop(self, rows: int) -> None:
        """Put a file with the next rows where the connector takes it, whole."""
        rows = min(rows, FILE_ROWS_MAX, self._here.records - self._sent)
        if rows <= 0:
            return
        draft = self._inbox / f"{self._files:05}.part"
        draft.write_text(csv_text(self._here.seed, range(self._sent, self._sent + rows)), encoding="utf-8", newline="")
        draft.rename(draft.with_suffix(".csv"))
        self._sent += rows
        self._files += 1


class Noise:
    """Somebody whose transactions in the source topic are all aborted. A context manager."""

    def __init__(self, here: Stage) -> None:
        """Nothing is sent yet."""
        self._here = here
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Noise":  # noqa: PYI034 - not to be inherited from
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, with no transaction open."""
        self._stop.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        here, number, dice = self._here, NOISE_NUMBER_FROM, random.Random(self._here.seed)
        config: dict[str, Any] = {
            "bootstrap.servers": here.broker.bootstrap,
            "log_level": QUIET,
            "transactional.id": "fault-noise",
            "transaction.timeout.ms": 10_000,
        }
        while not self._stop.wait(NOISE_EVERY_S * dice.uniform(0.5, 1.5)):
            producer = Producer(config)
            try:
                producer.init_transactions(10)
                producer.begin_transaction()
                for _ in range(dice.randint(1, 40)):
                    number += 1
                    producer.produce(here.topic, framed(here.schema_id, here.seed, number), partition=number % PARTITIONS)
                producer.flush(5)
                producer.abort_transaction(10)
            except (KafkaException, BufferError):
                continue
