"""`make many`: what thousands of agreements on one dataset cost, and thousands of datasets with one each.

Each size is a hub of its own: Kafka, serve and one worker, which runs from the beginning. What an office's program would do is done over
HTTP on one connection: publish, apply, sign; records to everybody; suspend and resume; a new schema version; then serve and the worker
are started again, and the commands that look at everything are run. Two sizes of a kind show whether a cost grows more than they do.

A table for people on stderr; the last line of stdout is JSON. Exit 1 where something grew more than linearly, or `ledger check` took a
minute with nothing new to look at; 5 where a record was not delivered to everybody, or `ledger check` found something;
130 where it was interrupted, with the figures until then.
"""

import argparse
import itertools
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx
from city import AGREEMENT, ENTRY, City, city, free_port
from confluent_kafka import Producer
from crew import interrupt_on_sigterm
from pressure import wide_schema

from benchmarks import machine
from benchmarks.contest import Story
from hub.broker.committed import Span, count_committed
from hub.model.errors import ExitCode
from hub.model.framing import frame_header
from hub.model.names import TopicPartition

AGREEMENTS: Final = (500, 5_000)
DATASETS: Final = (200, 2_000)
SERVE: Final = ("-m", "hub.cli", "serve", "--init")
WORKER: Final = ("-m", "hub.cli", "worker")
FIELDS: Final = "[field_0, field_1]"
WITHDRAWN: Final = 20
WITHIN_S: Final = 600.0
CHECK_WITHIN_S: Final = 60.0
TOLD_EVERY: Final = 250
PASSES: Final = frozenset({429, 503})
POLL_S: Final = 0.05
STEADY_S: Final = 4.0
"""So long nothing is asked of serve before its memory is read: its duties have looked once."""
MEASURED: Final = "check_nothing_new_s"
CALM_S: Final = 1.0
"""What grew by less is not judged: it is less than what a start or a busy machine makes of it."""
MORE_THAN_LINEAR: Final = 1.25


class Size(NamedTuple):
    """So many agreements over so many datasets, in turn."""

    agreements: int
    datasets: int

    @property
    def name(self) -> str:
        """How a column is called."""
        return f"{self.agreements:,} on one" if self.datasets == 1 else f"{self.datasets:,} datasets"

    @property
    def scale(self) -> int:
        """What grows from one size to the next."""
        return self.agreements if self.datasets == 1 else self.datasets


class Lost(Exception):  # noqa: N818 - a verdict
    """A record was not delivered as it should be, or the ledger does not hold."""


class Trial:
    """One hub of one size, and what was measured of it."""

    def __init__(self, built: City, size: Size, say: Story, *, found: dict[str, float], fill_s: float) -> None:
        """Nothing is done yet; what will be measured is put into ``found``. A size that is not reached in ``fill_s`` is smaller."""
        self.fill_s = fill_s
        self.built, self.size, self.say = built, size, say
        self.found = found
        found["asked_again"] = 0
        self.datasets = [f"many/plain-{number}" for number in range(size.datasets)]
        self.lanes = [TopicPartition(built.names.dept(dataset), 0) for dataset in self.datasets]
        self.shares = [TopicPartition(built.share_topic(f"many-{number}"), 0) for number in range(size.agreements)]
        self.ids: dict[str, int] = {}
        self.due = [0] * len(self.shares)
        """Records that each agreement must have been delivered."""
        self.worker = self._start_worker()

    def run(self) -> None:
        """Do everything in its order."""
        self.fill()
        self.memory("filled")
        self.deliver("first_record_to_all_s", fresh=True)
        self.deliver("second_record_to_all_s")
        self.look("check_new")
        self.look("check_nothing_new")
        self.withdraw()
        self.register()
        self.restart()
        self.memory("restarted")
        self.look("check_after_restart")
        self.look("check_nothing_new")

    def fill(self) -> None:
        """Publish every dataset, and sign every agreement."""
        published = self._many("publish", lambda number: self._publish(number, self.datasets[number]), self.size.datasets)
        del self.datasets[published:], self.lanes[published:]
        signed = self._many("sign", self._sign, self.size.agreements * published // self.size.datasets)
        del self.shares[signed:], self.due[signed:]
        if not signed:
            raise Lost("no agreement was signed, so that nothing can be lost")

    def _many(self, verb: str, act: Callable[[int], None], count: int) -> int:
        """Do an act so many times, or for so long as may be; what was measured is kept where the run is ended before it is through."""
        before, times = self._cpu(), list[float]()
        until = time.monotonic() + self.fill_s
        try:
            for number in range(count):
                if time.monotonic() > until:
                    break
                times.append(self._timed(act, number))
                if number % TOLD_EVERY == TOLD_EVERY - 1:
                    self.say(f"{self.size.name}: {verb} {number + 1:,}, the last {times[-1] * 1000:.0f} ms")
        finally:
            self.found[f"{verb}_acts"] = len(times)
            if times:
                self._tell(verb, times)
                for process, spent in self._cpu().items():
                    self.found[f"{verb}_cpu_ms_{process}"] = round((spent - before[process]) * 1000 / len(times), 2)
        return len(times)

    def deliver(self, name: str, *, fresh: bool = False) -> None:
        """Send a record to each dataset; tells how long it took until each was delivered to every agreement."""
        began = time.monotonic()
        self._send()
        if fresh:
            self._note("sent_s", time.monotonic() - began)
        self._wait_delivered()
        self._note(name, time.monotonic() - began)
        self._hold_delivered()

    def withdraw(self) -> None:
        """Suspend and resume some, spread over all."""
        chosen = range(0, len(self.shares), max(1, len(self.shares) // WITHDRAWN))
        times = [self._timed(self._post, f"/v1/agreements/many-{number}/suspend") for number in chosen]
        again = [self._timed(self._post, f"/v1/agreements/many-{number}/resume") for number in chosen]
        self._tell("suspend", times)
        self._tell("resume", again)

    def register(self) -> None:
        """Give the first dataset a schema of one field more; a record of it goes to every agreement of the dataset."""
        dataset = self.datasets[0]
        subject = self.built.names.dept_subject(dataset)
        schema = wide_schema("Plain0", version=1, fields=4)
        before = self._cpu()
        began = time.monotonic()
        answer = self._post(f"/subjects/{subject}/versions", {"schema": schema})
        self._note("new_schema_answered_s", time.monotonic() - began)
        self._produce({dataset: frame_header(answer["id"]) + b"\x02a" * 4 + b"\x00"})
        self._wait_delivered()
        self._note("new_schema_first_record_s", time.monotonic() - began)
        self._hold_delivered()
        for process, spent in self._cpu().items():
            self.found[f"new_schema_cpu_s_{process}"] = round(spent - before[process], 2)

    def restart(self) -> None:
        """End serve and start it again, then the worker, and send a record."""
        self._note("serve_restart_s", self._timed(lambda: self.built.restart_serve(SERVE, within_s=WITHIN_S)))
        self.found["serve_restart_cpu_s"] = round(machine.cpu_s(self.built.serve.pid), 2)
        self.worker.terminate()
        self.worker.wait(timeout=WITHIN_S)
        self._send()
        began = time.monotonic()
        self.worker = self._start_worker()
        self._note("worker_restart_ready_s", time.monotonic() - began)
        self.found["worker_restart_cpu_s"] = round(machine.cpu_s(self.worker.pid), 2)
        self._wait_delivered()
        self._note("worker_restart_first_records_s", time.monotonic() - began)
        self._hold_delivered()

    def look(self, name: str) -> None:
        """Run `ledger check`, which must find nothing; beside it, where nothing is new, all that looks at everything."""
        took = self._command("ledger", "check", sound=True)
        self._note(f"{name}_s", took)
        if name != "check_nothing_new":
            return
        for path in ("/v1/lanes", "/v1/agreements", "/v1/datasets", "/metrics"):
            self._note(f"get_{path.rpartition('/')[2]}_s", self._timed(self._get, path))
        self._note("exchange_status_s", self._command("exchange", "status"))
        self._note("doctor_s", self._command("doctor"))

    def memory(self, when: str) -> None:
        """Tell what each process holds, and what serve and the worker use of a core while nobody asks anything."""
        before = self._cpu()
        time.sleep(STEADY_S * 3)
        for process, spent in self._cpu().items():
            self.found[f"{when}_idle_cores_{process}"] = round((spent - before[process]) / (STEADY_S * 3), 3)
        for process, pid in self._pids().items():
            self.found[f"{when}_rss_mb_{process}"] = round(machine.rss_mb(pid, field="VmRSS"), 1)

    def _publish(self, number: int, dataset: str) -> None:
        schema = wide_schema(f"Plain{number}", version=0, fields=4)
        self._post("/v1/datasets", {"text": ENTRY.format(dataset=dataset), "file": "entry.yaml", "schema": schema})
        answer = self._post(f"/v1/datasets/{dataset}/publish")
        self.ids[dataset] = answer["schema_ids"][0]

    def _sign(self, number: int) -> None:
        name = f"many-{number}"
        text = AGREEMENT.format(id=name, fields=FIELDS, dataset=self.datasets[number % len(self.datasets)], provider="many")
        self._post("/v1/agreements", {"text": text, "file": f"{name}.yaml"})
        self._post(f"/v1/agreements/{name}/sign")

    def _post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Ask, and again while serve says that it or the broker cannot answer now: programs of offices do that, and it is counted."""
        deadline = time.monotonic() + WITHIN_S
        while True:
            answer = self.built.client.post(path, json=body, timeout=WITHIN_S)
            if answer.is_success:
                return answer.json()
            if answer.status_code not in PASSES or time.monotonic() > deadline:
                raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:600]}")
            self.found["asked_again"] += 1
            time.sleep(float(answer.headers.get("Retry-After", "1")))

    def _get(self, path: str) -> None:
        self.built.client.get(path, timeout=WITHIN_S).raise_for_status()

    def _send(self) -> None:
        self._produce({dataset: frame_header(self.ids[dataset]) + b"\x02a" * 4 for dataset in self.datasets})

    def _hold_delivered(self) -> None:
        """Hold that each agreement has each record of its dataset once: committed records, markers left out."""
        spans = [Span(share, 0, due) for share, due in zip(self.shares, self.due, strict=True)]
        counted = count_committed(self.built.broker.bootstrap, spans, deadline_s=WITHIN_S)
        wrong = sum(one.records != one.span.expected for one in counted)
        if wrong:
            raise Lost(f"{wrong} of {len(self.shares)} agreements have not each record once")

    def _produce(self, values: Mapping[str, bytes]) -> None:
        producer = Producer({"bootstrap.servers": self.built.broker.bootstrap, "acks": "all"})
        for dataset, value in values.items():
            producer.produce(self.built.names.dept(dataset), value, partition=0)
        if left := producer.flush(WITHIN_S):
            raise Lost(f"{left} records were not taken by the broker")
        for number in range(len(self.due)):
            self.due[number] += self.datasets[number % len(self.datasets)] in values

    def _wait_delivered(self) -> None:
        ends = self.built.admin.end_offsets(self.lanes)

        def delivered() -> bool:
            time.sleep(POLL_S)
            at = self.built.admin.committed(self.built.names.exchange_group, self.lanes)
            return all(lane in at and at[lane][0] >= ends[lane] for lane in self.lanes)

        self.built.wait(delivered, "records were not delivered", within_s=WITHIN_S)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        port = free_port()
        process = self.built.start(WORKER, CITYHUB_EXCHANGE__METRICS_PORT=str(port))

        def ready() -> bool:
            try:
                return httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        self.built.wait(ready, "the worker is not ready", within_s=WITHIN_S)
        return process

    def _command(self, *words: str, sound: bool = False) -> float:
        command = [sys.executable, "-m", "hub.cli", *words]
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(
            command, env=self.built.environment, cwd=self.built.folder, capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        self.found[f"{words[-1]}_cpu_s"] = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2)
        if ran.returncode and sound:
            raise Lost(f"{' '.join(words)} ended with {ran.returncode}: {ran.stdout[-1500:]} {ran.stderr[-1500:]}")
        if ran.returncode:
            self.say(f"{' '.join(words)} ended with {ran.returncode}: {ran.stdout[-600:]} {ran.stderr[-600:]}")
        return took

    def _pids(self) -> dict[str, int]:
        return {"serve": self.built.serve.pid, "worker": self.worker.pid, "broker": self.built.broker.pid or 0}

    def _cpu(self) -> dict[str, float]:
        return {name: machine.cpu_s(pid) for name, pid in self._pids().items()}

    def _timed(self, act: Any, *arguments: Any) -> float:
        began = time.monotonic()
        act(*arguments)
        return time.monotonic() - began

    def _tell(self, verb: str, seconds: Sequence[float]) -> None:
        """Note the total, and in milliseconds median, 99th percentile and the medians of the first and the last tenth."""
        tenth = max(1, len(seconds) // 10)
        self._note(f"{verb}_all_s", sum(seconds))
        for name, of, part in (
            ("p50", seconds, 0.5),
            ("p99", seconds, 0.99),
            ("first_tenth", seconds[:tenth], 0.5),
            ("last_tenth", seconds[-tenth:], 0.5),
        ):
            self.found[f"{verb}_{name}_ms"] = round(sorted(of)[min(len(of) - 1, int(len(of) * part))] * 1000, 1)

    def _note(self, name: str, seconds: float) -> None:
        self.found[name] = round(seconds, 3)
        self.say(f"{self.size.name}: {name} {seconds:.3f}")


def main(words: Sequence[str] | None = None) -> int:
    """Measure every size; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agreements", type=_sizes, default=AGREEMENTS, help="sizes of one dataset, as 500,5000; 0: none")
    parser.add_argument("--datasets", type=_sizes, default=DATASETS, help="numbers of datasets with one agreement each; 0: none")
    parser.add_argument("--fill-s", type=float, default=math.inf, help="publish and sign for so many seconds each at most: smaller sizes")
    parser.add_argument("--out", type=Path, help="a file that the JSON is written to as well")
    asked = parser.parse_args(words)
    interrupt_on_sigterm()
    say = Story()
    rows: list[tuple[Size, dict[str, float]]] = []
    code = 0
    try:
        for size in [*(Size(number, 1) for number in asked.agreements), *(Size(number, number) for number in asked.datasets)]:
            rows.append((size, {}))
            reached = measure(size, say, found=rows[-1][1], fill_s=asked.fill_s)
            rows[-1] = (reached, rows[-1][1])
    except Lost as lost:
        say(f"FAILED: {lost}")
        code = 5
    except KeyboardInterrupt:
        say("interrupted: the last size was not measured to its end")
        code = int(ExitCode.INTERRUPTED)
    sys.stderr.write(table(rows))
    found = summary(rows)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found) + "\n")
    return code or int(bool(found["worse_than_linear"] or found["slow_checks"]))


def measure(size: Size, say: Story, *, found: dict[str, float], fill_s: float) -> Size:
    """Run a hub of one size from its beginning to its end; returns the size that it had."""
    with city(serve=SERVE) as built:
        trial = Trial(built, size, say, found=found, fill_s=fill_s)
        trial.run()
        return Size(len(trial.shares), len(trial.datasets))


def summary(rows: Sequence[tuple[Size, dict[str, float]]]) -> dict[str, Any]:
    """Return the last line: the figures by size, and what grew more than the size did."""
    slow = [size.name for size, found in rows if found.get(MEASURED, 0.0) > CHECK_WITHIN_S]
    return {"sizes": {size.name: found for size, found in rows}, "worse_than_linear": worse(rows), "slow_checks": slow}


def worse(rows: Sequence[tuple[Size, dict[str, float]]]) -> list[str]:
    """Name what grew more than linearly from one size of a kind to the next: seconds of what is done once, or for all."""
    found = []
    for (small, before), (large, after) in itertools.pairwise(rows):
        if (small.datasets == 1) != (large.datasets == 1):
            continue
        for name in (name for name in before if name.endswith("_s") and name in after):
            linear = before[name] * large.scale / small.scale
            if after[name] > linear * MORE_THAN_LINEAR and after[name] - before[name] > CALM_S:
                found.append(f"{name}: {before[name]} at {small.name}, {after[name]} at {large.name}")
    return found


def table(rows: Sequence[tuple[Size, dict[str, float]]]) -> str:
    """Return the figures as a table, a column for each size."""
    lines = [["", *(size.name for size, _ in rows)]]
    names = dict.fromkeys(name for _, found in rows for name in found)
    lines += [[name, *(f"{found[name]:,.10g}" if name in found else "" for _, found in rows)] for name in names]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |\n" for line in lines)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(size for size in (int(word) for word in text.split(",")) if size)


if __name__ == "__main__":
    sys.exit(main())
