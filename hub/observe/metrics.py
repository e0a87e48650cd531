"""The metric catalogue: every metric of every process, declared once with its help, its labels and their bound.

Declare here, count where the fact is known: ``metrics.RECORDS.labels(agreement=id, disposition="delivered").inc(n)``. Names
begin ``cityhub_`` and follow Prometheus' conventions (base units, ``_total`` on counters). A label is either a closed set of
words, or ``OPEN``: slugs and topic names out of the catalogue. No metric grows beyond ``LABEL_SETS_MAX`` label sets: what comes
after is counted under ``other`` and the overflow shows in ``cityhub_label_overflow_total``. Never a field value.
"""

import threading
from collections.abc import Sequence
from typing import Final, Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector

from hub import __version__
from hub.model.errors import CODES
from hub.model.reasons import DeniedBy, Reject

OPEN: Final[tuple[str, ...]] = ()
"""Values of this label come from the catalogue: bounded by ``LABEL_SETS_MAX`` only."""
LABEL_SETS_MAX: Final = 2_000
OTHER: Final = "other"
PROCESSES: Final = ("worker", "serve", "connector")

DISPOSITIONS: Final = ("delivered", "filtered", "denied", "suppressed", "quarantined")
STEP_OUTCOMES: Final = ("committed", "aborted", "fenced", "rerun", "failed")
STEP_STAGES: Final = ("drain", "decide", "offsets", "produce", "check", "commit", "total")
LANE_STATES: Final = ("starting", "running", "waiting", "paused", "stopped")
KERNELS: Final = ("reference", "native")
ACT_OUTCOMES: Final = ("intended", "done", "refused", "failed")
ROW_OUTCOMES: Final = ("published", "set_aside", "skipped")
FILE_OUTCOMES: Final = ("published", "set_aside", "seen_before")
TOPIC_FLAWS: Final = ("gone", "partitions", "setting")
HTTP_METHODS: Final = ("GET", "POST", "PUT", "DELETE")
HTTP_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
REQUEST_KINDS: Final = ("health", "act", "check", "read")
CLOSED_BECAUSE: Final = ("silent", "crowded")

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it untyped

REGISTRY: Final = CollectorRegistry()
"""Everything that is declared here."""
_OF_PROCESS: Final = {process: CollectorRegistry() for process in PROCESSES}

M = TypeVar("M", Counter, Gauge, Histogram)


class Family(Generic[M]):
    """A metric with labels whose sets are bounded."""

    def __init__(self, metric: M, labels: dict[str, tuple[str, ...]]) -> None:
        """Keep ``metric`` and, by label name, the words that it may take; ``OPEN`` is any."""
        self.metric: M = metric
        self.allowed = labels
        self._seen: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()

    def labels(self, **values: str) -> M:
        """Return the child for ``values``; a word outside a closed set, and a set past the bound, counts as ``other``."""
        found = {name: self._word(name, str(values[name])) for name in self.allowed if name in values}
        if len(found) != len(self.allowed) or len(values) != len(found):
            message = f"labels are {', '.join(self.allowed)}"
            raise ValueError(message)
        key = tuple(found.values())
        with self._lock:
            if key not in self._seen:
                if len(self._seen) >= LABEL_SETS_MAX:
                    LABEL_OVERFLOW.inc()
                    found = {name: OTHER if self.allowed[name] is OPEN else word for name, word in found.items()}
                else:
                    self._seen.add(key)
        return self.metric.labels(**found)

    def forget(self, **values: str) -> None:
        """Drop the child for ``values``, such as the lag of a partition that another worker has taken over."""
        key = tuple(self._word(name, str(values[name])) for name in self.allowed)
        with self._lock:
            if key in self._seen:
                self._seen.discard(key)
                self.metric.remove(*key)

    def _word(self, name: str, value: str) -> str:
        words = self.allowed[name]
        return value if words is OPEN or value in words else OTHER


def _register(metric: M, processes: Sequence[str]) -> M:
    REGISTRY.register(metric)
    for process in processes:
        _OF_PROCESS[process].register(metric)
    return metric


def _counter(name: str, text: str, *processes: str) -> Counter:
    return _register(Counter(name, text, registry=None), processes)


def _gauge(name: str, text: str, *processes: str) -> Gauge:
    return _register(Gauge(name, text, registry=None), processes)


def _histogram(name: str, text: str, *processes: str) -> Histogram:
    return _register(Histogram(name, text, registry=None, buckets=_SECONDS), processes)


def _counters(name: str, text: str, *processes: str, **labels: tuple[str, ...]) -> Family[Counter]:
    return Family(_register(Counter(name, text, tuple(labels), registry=None), processes), labels)


def _gauges(name: str, text: str, *processes: str, **labels: tuple[str, ...]) -> Family[Gauge]:
    return Family(_register(Gauge(name, text, tuple(labels), registry=None), processes), labels)


def _histograms(name: str, text: str, *processes: str, **labels: tuple[str, ...]) -> Family[Histogram]:
    return Family(_register(Histogram(name, text, tuple(labels), registry=None, buckets=_SECONDS), processes), labels)


_CODES: Final = tuple(CODES)
_REJECTS: Final = tuple(Reject)
_DENIED_BY: Final = tuple(DeniedBy)

# every process
BUILD_INFO: Final = _gauges("cityhub_build_info", "Version of the running hub; always 1.", *PROCESSES, version=OPEN)
LABEL_OVERFLOW: Final = _counter(
    "cityhub_label_overflow_total", "Observations counted under `other` because a metric had its bound of label sets.", *PROCESSES
)

# worker
RECORDS_READ: Final = _counters("cityhub_records_read_total", "Records read from a department's topic.", "worker", topic=OPEN)
RECORDS: Final = _counters(
    "cityhub_records_total",
    "Records decided, by agreement and disposition; committed steps only.",
    "worker",
    agreement=OPEN,
    disposition=DISPOSITIONS,
)
DENIED: Final = _counters(
    "cityhub_denied_total", "Records denied, by the right that was missing.", "worker", agreement=OPEN, reason=_DENIED_BY
)
QUARANTINED: Final = _counters("cityhub_quarantined_total", "Records quarantined, by reason.", "worker", topic=OPEN, code=_REJECTS)
GAPS: Final = _counter("cityhub_gaps_total", "Offsets that hold no record for readers: markers, aborted and compacted ones.", "worker")
LOST: Final = _counter("cityhub_lost_total", "Offsets that retention took before they were read. Above 0: act.", "worker")
DELIVERIES_BYTES: Final = _counter(
    "cityhub_deliveries_bytes_total", "Bytes delivered: uncompressed keys and values, framing included.", "worker"
)
STEPS: Final = _counters(
    "cityhub_steps_total", "Steps (one Kafka transaction each) by outcome.", "worker", topic=OPEN, outcome=STEP_OUTCOMES
)
STEP_SECONDS: Final = _histograms("cityhub_step_seconds", "Time of a step, by stage.", "worker", stage=STEP_STAGES)
LANES: Final = _gauges("cityhub_lanes", "Lanes of this worker by state.", "worker", state=LANE_STATES)
LANE_STOPPED: Final = _gauges("cityhub_lane_stopped", "Lanes that stopped with an alarm, by code. Above 0: act.", "worker", code=_CODES)
PLAN_OFFSET: Final = _gauges("cityhub_plan_offset", "Offset of hub.plan that the lanes of a topic decide under.", "worker", topic=OPEN)
PLAN_STOPPED: Final = _gauges(
    "cityhub_plan_stopped", "Datasets that stand still for what hub.plan says about them, by code. Above 0: act.", "worker", code=_CODES
)
AGREEMENTS_REFUSED: Final = _gauge(
    "cityhub_agreements_refused", "Agreements that this worker cannot compile: their records are denied. Above 0: act.", "worker"
)
PLAN_LEVEL: Final = _gauge("cityhub_plan_level", "Newest level of entries of hub.plan that this worker reads.", "worker")
PLAN_AGE_SECONDS: Final = _gauge("cityhub_plan_age_seconds", "Time since hub.plan was last known to be read to its end.", "worker")
UNDELIVERABLE: Final = _gauges(
    "cityhub_undeliverable",
    "Share partitions of an agreement that are gone, refuse or are too narrow, so that records are denied. Above 0: act.",
    "worker",
    agreement=OPEN,
)
UNDELIVERED: Final = _counters(
    "cityhub_undelivered_total",
    "Records denied because their share partition took nothing for too long. Above 0: act.",
    "worker",
    agreement=OPEN,
)
KERNEL_INFO: Final = _gauges("cityhub_kernel_info", "The kernel that runs plans; always 1.", "worker", kernel=KERNELS)
CONSUMER_LAG_RECORDS: Final = _gauges(
    "cityhub_consumer_lag_records", "Offsets between a lane's position and the end of its log.", "worker", topic=OPEN, partition=OPEN
)

# worker and serve both read hub.plan
PLAN_ALARMS: Final = _counters(
    "cityhub_plan_alarms_total", "Entries of hub.plan that were refused, by code. Above 0: act.", "worker", "serve", code=_CODES
)

# serve
ACTS: Final = _counters("cityhub_acts_total", "Acts by verb and outcome.", "serve", act=OPEN, outcome=ACT_OUTCOMES)
ACTS_ANCHORED: Final = _gauge("cityhub_acts_anchored", "Number of the last act that is anchored outside of the database.", "serve")
ACTS_BROKEN: Final = _gauge("cityhub_acts_broken", "1 where acts are not what was recorded and anchored. Above 0: act.", "serve")
REVOCATION_SECONDS: Final = _histogram(
    "cityhub_revocation_seconds", "From the call that narrows a right to its answer, every fence included.", "serve"
)
PLAN_REPAIRS: Final = _counter("cityhub_plan_repairs_total", "Entries appended again because hub.plan did not hold the newest.", "serve")
TOPICS_MENDED: Final = _counters(
    "cityhub_topics_mended_total",
    "Topics of the hub that were gone, too narrow or set otherwise, and were mended. Above 0: act.",
    "serve",
    what=TOPIC_FLAWS,
)
TOPICS_AMISS: Final = _gauge(
    "cityhub_topics_amiss", "Topics of the hub that are not as it needs them and that it does not mend. Above 0: act.", "serve"
)
COLLECTOR_POSITION: Final = _gauges(
    "cityhub_collector_position", "Next offset of hub.usage that the ledger reads.", "serve", partition=OPEN
)
COLLECTOR_LAG_RECORDS: Final = _gauge("cityhub_collector_lag_records", "Offsets of hub.usage that are not in the ledger yet.", "serve")
CHAINS_HELD: Final = _gauge("cityhub_chains_held", "Chains of usage steps that are held. Above 0: act.", "serve")
USAGE_STEPS: Final = _counter("cityhub_usage_steps_total", "Usage steps posted to the ledger.", "serve")
USAGE_REFUSED: Final = _counter(
    "cityhub_usage_refused_total", "Records of hub.usage that are no usage steps of this hub. Above 0: act.", "serve"
)
HTTP_REQUESTS: Final = _counters(
    "cityhub_http_requests_total",
    "Requests by method, route and status class.",
    "serve",
    method=HTTP_METHODS,
    route=OPEN,
    status=HTTP_CLASSES,
)
HTTP_REQUEST_SECONDS: Final = _histograms("cityhub_http_request_seconds", "Time of a request, by route.", "serve", route=OPEN)
HTTP_REQUESTS_REFUSED: Final = _counters(
    "cityhub_http_requests_refused_total", "Requests turned away since too many of their kind waited.", "serve", kind=REQUEST_KINDS
)
HTTP_CONNECTIONS_CLOSED: Final = _counters(
    "cityhub_http_connections_closed_total",
    "Connections closed because their caller was silent, or because a newer one needed the place.",
    "serve",
    reason=CLOSED_BECAUSE,
)

# connector
ROWS: Final = _counters("cityhub_rows_total", "Rows of a source by outcome.", "connector", connector=OPEN, outcome=ROW_OUTCOMES)
FILES: Final = _counters("cityhub_files_total", "Files of a source by outcome.", "connector", connector=OPEN, outcome=FILE_OUTCOMES)
LAST_SUCCESS_TIMESTAMP_SECONDS: Final = _gauges(
    "cityhub_last_success_timestamp_seconds", "When a connector last committed, Unix time.", "connector", connector=OPEN
)

BUILD_INFO.labels(version=__version__).set(1)
for _registry in (REGISTRY, *_OF_PROCESS.values()):
    ProcessCollector(namespace="cityhub", registry=_registry)


def exposition(process: str) -> tuple[bytes, str]:
    """Return the metrics of ``process`` (one of ``PROCESSES``) in Prometheus' text format, and the content type."""
    return generate_latest(_OF_PROCESS[process]), CONTENT_TYPE_PLAIN_0_0_4
