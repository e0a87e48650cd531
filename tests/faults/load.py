"""Loads: what fills the source topics while things die. ``pace`` sets rows a second, ``finish`` sends the rest at once."""

import io
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import fastavro
from confluent_kafka import KafkaException, Producer
from crew import Failure, Post
from rows import MAKERS, csv_text, schema
from stage import COMMAND, PARTITIONS, Dataset, Stage

LOOK_S: Final = 0.02
QUIET: Final = 2
"""librdkafka tells of critical things alone: the broker is meant to go away."""
QUEUED_MAX: Final = 100_000
TRANSACTION_WITHIN_S: Final = 60
TRANSACTION_TRIES: Final = 3
NOISE_NUMBER_FROM: Final = 10**9
"""Rows of transactions that are aborted: nobody may ever see one."""
NOISE_EVERY_S: Final = 1.5
FILE_EVERY_S: Final = 0.7
FILE_ROWS_MAX: Final = 5_000
CONNECTOR_POINTS: Final = ("connector.row_sent", "connector.before_commit", "connector.after_commit")
HIT_WITHIN_S: Final = 60.0
CONNECTOR: Final = """\
apiVersion: cityhub/v1
kind: Source
name: passages
type: csv-file
dataset: {dataset}
folder: inbox
done: done
rejected: rejected
settle_s: 0
"""
_PARSED: Final[Mapping[str, Any]] = {name: fastavro.parse_schema(schema(name)) for name in MAKERS}


class Load(Protocol):
    """A running load."""

    @property
    def sent(self) -> int:
        """Rows handed over so far."""

    @property
    def rest(self) -> int:
        """Rows that are still to come."""

    @property
    def finished(self) -> bool:
        """Tell whether everything of it that had to die has died."""

    def pace(self, rows_per_s: float) -> None:
        """Hand over that many rows a second from now on."""

    def tick(self, *, ready: bool) -> None:
        """Do what is due. ``ready``: every worker has lanes, so that what comes in blocks meets lanes that are at work."""

    def finish(self, *, within_s: float) -> None:
        """Hand over the rest at once and return when Kafka has all of it."""

    def close(self) -> None:
        """Stop, whatever is left."""


def framed(here: Stage, dataset: Dataset, number: int) -> bytes:
    """Return row ``number`` of a dataset as a Kafka value."""
    out = io.BytesIO(b"\0" + here.schema_ids[dataset.name].to_bytes(4, "big"))
    out.seek(5)
    fastavro.schemaless_writer(out, _PARSED[dataset.rows], MAKERS[dataset.rows](here.seed, number))
    return out.getvalue()


class ProducerLoad:
    """A department without a connector: one idempotent producer, its rows in turn over the partitions, as they are due or in blocks."""

    finished = True

    def __init__(self, here: Stage, *, dataset: Dataset, rows: range, codec: str = "none", block_rows: int = 1) -> None:
        """Send slowly at first: at least ``block_rows`` at once."""
        self._here, self._dataset, self._rows = here, dataset, rows
        self._topic = here.topic(dataset)
        self._block_rows = block_rows
        self._rate = 100.0
        self._due, self._paid_at = 0.0, time.monotonic()
        self._acknowledged = 0
        self._failed: list[str] = []
        self.sent = 0
        self._producer = Producer(
            {
                "bootstrap.servers": here.broker.bootstrap,
                "log_level": QUIET,
                "enable.idempotence": True,
                "compression.type": codec,
                "linger.ms": 10,
                "message.timeout.ms": 600_000,
                "queue.buffering.max.messages": 2 * QUEUED_MAX,
                **self._more_config(),
            }
        )

    @property
    def rest(self) -> int:
        """Rows that are still to come."""
        return len(self._rows) - self.sent

    def pace(self, rows_per_s: float) -> None:
        """Hand over that many rows a second from now on."""
        self._rate = rows_per_s

    def paused(self) -> None:
        """Let the time since the last tick not count."""
        self._paid_at = time.monotonic()

    def tick(self, *, ready: bool) -> None:
        """Send what is due."""
        now = time.monotonic()
        self._due, self._paid_at = min(len(self._rows), self._due + self._rate * (now - self._paid_at)), now
        if ready and int(self._due) - self.sent >= self._block_rows:
            self._send(int(self._due))
        self._producer.poll(0)

    def finish(self, *, within_s: float) -> None:
        """Hand over the rest at once and return when Kafka has acknowledged all of it."""
        self._send(len(self._rows))
        deadline = time.monotonic() + within_s
        while self._acknowledged < len(self._rows):
            self._producer.poll(LOOK_S)
            if self._failed or time.monotonic() > deadline:
                raise Failure(f"the load stands at {self._acknowledged} of {len(self._rows)}: {self._failed[:1]}")

    def close(self) -> None:
        """Drop what is not sent."""
        self._producer.purge()
        self._producer.flush(1)

    def _more_config(self) -> dict[str, Any]:
        return {}

    def _send(self, up_to: int) -> None:
        """Send the rows up to the ``up_to``-th."""
        for at in range(self.sent, up_to):
            value = framed(self._here, self._dataset, self._rows[at])
            while len(self._producer) >= QUEUED_MAX:
                self._producer.poll(LOOK_S)
            self._producer.produce(self._topic, value, partition=at % PARTITIONS, on_delivery=self._delivered)
            self.sent = at + 1
        self._producer.poll(0)

    def _delivered(self, error: object, _message: object) -> None:
        if error is None:
            self._acknowledged += 1
        else:
            self._failed.append(str(error))


class TransactionLoad(ProducerLoad):
    """A department that sends each block in one transaction to one partition, the next to the next: a reader gets all of it at once."""

    def __init__(self, here: Stage, *, dataset: Dataset, rows: range, codec: str, block_rows: int) -> None:
        """Take the transactional id."""
        super().__init__(here, dataset=dataset, rows=rows, codec=codec, block_rows=block_rows)
        self._producer.init_transactions(TRANSACTION_WITHIN_S)
        self._blocks = 0

    def _more_config(self) -> dict[str, Any]:
        within_ms = 1000 * TRANSACTION_WITHIN_S
        return {"transactional.id": "fault-blocks", "transaction.timeout.ms": within_ms, "message.timeout.ms": within_ms}

    def _send(self, up_to: int) -> None:
        while self.sent < up_to:
            behind = min(up_to, self.sent + self._block_rows)
            values = [framed(self._here, self._dataset, self._rows[at]) for at in range(self.sent, behind)]
            for _ in range(TRANSACTION_TRIES):
                if self._commit(values):
                    break
            else:
                raise Failure("a block of the load could not be committed")
            self.sent = behind

    def _commit(self, values: Sequence[bytes]) -> bool:
        """Send a block in a transaction; False where it was aborted."""
        try:
            self._producer.begin_transaction()
            for value in values:
                self._producer.produce(self._topic, value, partition=self._blocks % PARTITIONS)
            self._producer.commit_transaction(TRANSACTION_WITHIN_S)
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise Failure(f"a block of the load is in doubt: {error.args[0].name()}") from error
            self._producer.abort_transaction(TRANSACTION_WITHIN_S)
            return False
        self._acknowledged += len(values)
        self._blocks += 1
        return True


class Loads:
    """Several loads as one, each at the pace of its share of what is still to come."""

    def __init__(self, parts: Sequence[Load]) -> None:
        """Run what runs already."""
        self._parts = parts

    @property
    def sent(self) -> int:
        """Rows handed over so far."""
        return sum(part.sent for part in self._parts)

    @property
    def rest(self) -> int:
        """Rows that are still to come."""
        return sum(part.rest for part in self._parts)

    @property
    def finished(self) -> bool:
        """Tell whether everything that had to die has died."""
        return all(part.finished for part in self._parts)

    def pace(self, rows_per_s: float) -> None:
        """Share the rows a second out."""
        rest = max(1, self.rest)
        for part in self._parts:
            part.pace(rows_per_s * part.rest / rest)

    def tick(self, *, ready: bool) -> None:
        """Do what is due."""
        for part in self._parts:
            part.tick(ready=ready)

    def finish(self, *, within_s: float) -> None:
        """Hand over the rest."""
        for part in self._parts:
            part.finish(within_s=within_s)

    def close(self) -> None:
        """Stop."""
        for part in self._parts:
            part.close()


class ConnectorLoad:
    """A department with the file connector: CSV files are dropped as time goes, and the connector is killed now and then."""

    def __init__(self, here: Stage, *, dataset: Dataset, rows: range, hits: int, say: Callable[[str], None]) -> None:
        """Start the connector; it is to be killed ``hits`` times at each of its failpoints."""
        self.kills: Counter[str] = Counter()
        self.exits = 0
        self._here, self._rows, self._say = here, rows, say
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
        file.write_text(CONNECTOR.format(dataset=dataset.name), encoding="utf-8")
        command = (*COMMAND, "connector", "run", str(file))
        self._post = Post("connector", folder=here.folder, environment=here.environment, command=command, python=here.python)
        self._start()

    @property
    def sent(self) -> int:
        """Rows in files that have been dropped."""
        return self._sent

    @property
    def rest(self) -> int:
        """Rows that are still to come."""
        return len(self._rows) - self._sent

    @property
    def finished(self) -> bool:
        """Tell whether every kill has been done."""
        return not self._aims and self._aim is None

    def pace(self, rows_per_s: float) -> None:
        """Drop that many rows a second from now on."""
        self._rate = rows_per_s

    def paused(self) -> None:
        """Let the time since the last tick not count."""
        self._paid_at = time.monotonic()

    def tick(self, *, ready: bool) -> None:
        """Drop a file when one is due, kill the connector where it hangs, start it where it ended. Waits for nobody."""
        del ready
        now = time.monotonic()
        self._due, self._paid_at = self._due + self._rate * (now - self._paid_at), now
        if now - self._dropped_at >= FILE_EVERY_S:
            self._dropped_at = now
            self._drop(int(self._due) - self._sent)
        self._look_after(now)

    def finish(self, *, within_s: float) -> None:
        """Drop the rest and return when the connector has put every file aside as published."""
        deadline = time.monotonic() + within_s
        while self.rest:
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

    def _drop(self, rows: int, *, most: int = FILE_ROWS_MAX) -> None:
        """Put a file with the next rows, ``most`` of them at most, where the connector takes it, whole."""
        rows = min(rows, most, self.rest)
        if rows <= 0:
            return
        draft = self._inbox / f"{self._files:05}.part"
        draft.write_text(csv_text(self._here.seed, self._rows[self._sent : self._sent + rows]), encoding="utf-8", newline="")
        draft.rename(draft.with_suffix(".csv"))
        self._sent += rows
        self._files += 1


class Noise:
    """Somebody whose transactions in the source topics are all aborted. A context manager."""

    def __init__(self, here: Stage, *, codec: str) -> None:
        """Nothing is sent yet."""
        self._here, self._codec = here, codec
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
            "compression.type": self._codec,
        }
        while not self._stop.wait(NOISE_EVERY_S * dice.uniform(0.5, 1.5)):
            producer = Producer(config)
            try:
                producer.init_transactions(10)
                producer.begin_transaction()
                for _ in range(dice.randint(1, 40)):
                    number += 1
                    dataset = dice.choice(here.datasets)
                    producer.produce(here.topic(dataset), framed(here, dataset, number), partition=number % PARTITIONS)
                producer.flush(5)
                producer.abort_transaction(10)
            except (KafkaException, BufferError):
                continue
