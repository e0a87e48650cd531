"""Settings of every process: ``cityhub.yaml``, then ``CITYHUB_`` environment variables, then flags.

Nested keys use two underscores in the environment (``CITYHUB_BROKER__BOOTSTRAP``). An unknown key is an error with a
suggestion. Every bound of the hub is named here with its unit.
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from hub.model.errors import HubError, Problem
from hub.model.names import Names

CONFIG_FILE: Final = "cityhub.yaml"
MASTER_KEY_EPOCH: Final = 1

# Bounds of one record batch. They cannot be set: what one worker reads every reader must, and the native kernel has the same.
BATCH_RECORDS_MAX: Final = 500_000
"""A batch of more records is not read: records of seven bytes would swell to gigabytes of objects."""
BATCH_PLAIN_BYTES_MAX: Final = 32 * 1024 * 1024
"""A batch that decompresses to more is not read."""
BATCH_RECORD_HEADERS_MAX: Final = 500_000
"""A batch of more record headers, all records together, is not read."""
BATCH_GZIP_MEMBERS_MAX: Final = 16
"""A gzip stream of more members is not read: clients write one, and each costs more than its bytes."""
BATCH_ZSTD_WINDOW_LOG_MAX: Final = 23
"""A zstd frame that asks for a larger window, as a power of two, is not read: 8 MiB are what a decoder holds before it has seen a byte."""


ACTS_ANCHOR_EVERY_S: Final = 1.0
"""How long after an act its anchor may come; the answer of an act never waits for it."""
ACTS_ANCHOR_AGAIN_S: Final = 1_800.0
"""An anchor that did not move is written again after this time: Kafka drops offsets of groups without members after 7 days."""
AGREEMENTS_PER_DATASET_MAX: Final = 10_000
"""Each takes up to 77 bytes of a usage step, whether something is delivered or not, and a step must stay within 900,000."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsSettings(_Section):
    """TLS to an outside cluster: PEM files."""

    ca: Path | None = None
    """Certificates that sign the brokers'; None: those that the system trusts."""
    certificate: Path | None = None
    """This process's own certificate, with those between it and the signer's; None: the brokers ask for none."""
    key: Path | None = None
    """Its private key, without a password; None: it stands in the certificate's file."""


class BrokerSettings(_Section):
    """Where Kafka is."""

    bootstrap: str | None = None
    """``host:port`` of an outside cluster; None: the embedded broker."""
    tls: TlsSettings | None = None
    """Set to speak TLS; the embedded broker is on 127.0.0.1 and speaks plain."""
    port: int = 19092
    """Embedded broker's client port; 0: a free one, kept in the state folder."""
    controller_port: int = 19093
    heap_mb: int = 768
    start_timeout_s: float = 60.0
    replication: int = 1
    """Replication factor of the hub's topics; 3 on an outside cluster of three."""


class ServeSettings(_Section):
    """Where ``cityhub serve`` listens."""

    host: str = "127.0.0.1"
    port: int = 18080
    request_timeout_s: float = 30.0
    """How long the command line waits for an answer."""
    connections_max: int = Field(default=512, ge=8, le=100_000)
    """Connections at the same time; beyond it the one that has been silent longest is closed. Fewer where the limit of open files is."""
    head_timeout_s: float = Field(default=10.0, gt=0, le=600)
    """From a connection, or the first byte of a further request, to the end of a request's head."""
    body_timeout_s: float = Field(default=20.0, gt=0, le=600)
    """From the head to the end of the body."""
    idle_timeout_s: int = Field(default=30, ge=1, le=3600)
    """Between an answer and the next request."""
    answer_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """How long a caller may leave an answer unread."""
    read_requests_max: int = Field(default=8, ge=1, le=32)
    """Requests that only look, worked on at the same time. Each kind has places of its own, so that none takes another's."""
    check_requests_max: int = Field(default=2, ge=1, le=32)
    """Compatibility checks and look-ups of schemas."""
    act_requests_max: int = Field(default=8, ge=1, le=32)
    """Requests that change something."""
    health_requests_max: int = Field(default=4, ge=1, le=32)
    """``/livez``, ``/readyz`` and ``/metrics``."""
    waiting_requests_max: int = Field(default=64, ge=1, le=1024)
    """Requests of one kind that wait for a place; one more is answered HUB-SERVE-004."""


class OfficerSettings(_Section):
    """The configured local officer: who acts while tokens have not come yet."""

    person: str = "local-officer"
    org: str = "city-hub"


class ExchangeSettings(_Section):
    """Bounds of the exchange path."""

    agreements_per_dataset_max: int = Field(default=AGREEMENTS_PER_DATASET_MAX, ge=1, le=AGREEMENTS_PER_DATASET_MAX)
    """Active and suspended agreements on one dataset; signing one more is refused."""
    step_ms: int = 100
    """A lane is drained at most this often; one that was idle, at once."""
    step_bytes_max: int = 2 * 1024 * 1024
    """Source bytes of a step; a lane that is always busy takes fewer, so that it commits about every ``step_ms``."""
    kernel_threads: int | None = Field(default=None, ge=1)
    """Threads of kernels; None: as many as there are processors, at most 4."""
    produce_connections: int = Field(default=3, ge=1, le=16)
    """Connections to each broker that lanes deliver over."""
    coordination_connections: int = Field(default=16, ge=1, le=64)
    """Connections to each broker that lanes begin and end their transactions over."""
    lane_queue_chunks: int = 8
    inflight_bytes_max: int = 128 * 1024 * 1024
    """Bytes of one worker that are under way, over all lanes: half for what was fetched, half for what is delivered."""
    fetch_bytes_max: int = 1024 * 1024
    """Per partition and fetch: the size of a chunk."""
    fetch_answer_bytes_max: int = 8 * 1024 * 1024
    """Per fetch, over all partitions."""
    fetch_min_bytes: int = 256 * 1024
    fetch_max_wait_ms: int = 100
    transaction_timeout_ms: int = 10_000
    session_timeout_s: float = 6.0
    heartbeat_interval_s: float = 1.0
    plan_fresh_s: float = 10.0
    """A step commits only when hub.plan's leader answered at most this long ago."""
    quarantine_stop_records: int = Field(default=10_000, ge=0)
    """A lane stops before it has quarantined nearly all of so many records in a row; 0: never."""
    quarantine_stop_share: float = Field(default=0.9, gt=0, le=1)
    """What nearly all is."""
    undeliverable_wait_s: float = Field(default=600.0, ge=0, le=86_400)
    """How long a lane waits for a share partition that is gone, before its records are denied and the others go on."""
    undeliverable_retry_s: float = Field(default=30.0, gt=0, le=3_600)
    """How often a share partition whose records are denied is tried again."""
    metrics_port: int = 18081
    """Port of the worker's /livez, /readyz and /metrics on 127.0.0.1; 0: a free one, printed at start."""
    output_batch_bytes_max: int = Field(default=900_000, ge=1_000, le=900_000)
    """Above 900,000 a batch may be larger than what a topic takes."""
    record_bytes_max: int = 900_000
    output_codec: Literal["source", "none", "gzip", "snappy", "lz4", "zstd"] = "source"
    """How share topics' batches are compressed; ``source``: as the source's are."""


class ConnectorSettings(_Section):
    """Bounds of one transaction of a source: whichever is reached first."""

    transaction_rows_max: int = Field(default=5_000, ge=1)
    transaction_bytes_max: int = Field(default=4 * 1024 * 1024, ge=1)
    transaction_ms: int = Field(default=200, ge=1)


class LedgerSettings(_Section):
    """The ledger's store."""

    url: str | None = None
    """SQLAlchemy URL; None: SQLite in the state folder."""


class Settings(BaseSettings):
    """All settings of one hub."""

    model_config = SettingsConfigDict(env_prefix="CITYHUB_", env_nested_delimiter="__", extra="forbid", frozen=True)

    state: Path = Path(".cityhub")
    scope: str = "330100"
    topics_prefix: str = ""
    broker: BrokerSettings = Field(default_factory=BrokerSettings)
    serve: ServeSettings = Field(default_factory=ServeSettings)
    officer: OfficerSettings = Field(default_factory=OfficerSettings)
    exchange: ExchangeSettings = Field(default_factory=ExchangeSettings)
    connector: ConnectorSettings = Field(default_factory=ConnectorSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment wins over the file; flags are merged by ``load_settings``."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @property
    def names(self) -> Names:
        """Names of topics, groups and transactional ids."""
        return Names(scope=self.scope, prefix=self.topics_prefix)

    @property
    def bootstrap(self) -> str:
        """``host:port`` of the cluster: the outside one, or the embedded broker."""
        return self.broker.bootstrap or f"127.0.0.1:{self.broker.port}"

    @property
    def serve_url(self) -> str:
        """Base URL of ``cityhub serve``."""
        return f"http://{self.serve.host}:{self.serve.port}"

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.ledger.url or f"sqlite:///{self.state.absolute() / 'hub.sqlite3'}"

    @property
    def keys_folder(self) -> Path:
        """Folder of ``master-<epoch>.key``, ``officer.key`` and ``trust.keys``."""
        return self.state / "keys"


def load_settings(*, file: Path | None = None, state: Path | None = None) -> Settings:
    """Read the settings; HUB-CONF-001 and HUB-CONF-002 list every fault at once.

    ``file`` defaults to ``CITYHUB_CONFIG``, then ``cityhub.yaml`` in the working folder where there is one.
    """
    path = file or Path(os.environ.get("CITYHUB_CONFIG", CONFIG_FILE))
    values: dict[str, Any] = {}
    if path.exists():
        loaded = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        if not isinstance(loaded, dict):
            raise HubError("HUB-CONF-001", f"`{path}` holds no mapping", "write `key: value` lines; `cityhub doctor` shows every key")
        values = loaded
    elif file is not None or "CITYHUB_CONFIG" in os.environ:
        raise HubError("HUB-CONF-001", f"`{path}` does not exist", "give the path of a cityhub.yaml, or leave the flag out")
    _refuse_unknown(values, path)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        problems = tuple(
            Problem(str(path), ".".join(str(part) for part in fault["loc"]), fault["msg"].lower(), "see README, settings")
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise HubError("HUB-CONF-001", f"{len(problems)} settings are not valid", "mend each of them", problems=problems) from None
    return settings.model_copy(update={"state": state}) if state is not None else settings


def _refuse_unknown(values: Mapping[str, Any], path: Path) -> None:
    problems = tuple(_unknown(values, Settings, "", str(path)))
    if problems:
        raise HubError("HUB-CONF-002", f"`{path}` has {len(problems)} unknown keys", "mend each of them", problems=problems)


def _unknown(values: Mapping[str, Any], model: type[BaseModel], prefix: str, where: str) -> Iterator[Problem]:
    for key, value in values.items():
        known = model.model_fields
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean `{prefix}{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}"
            yield Problem(where, f"{prefix}{key}", "unknown key", hint)
            continue
        inner = known[key].annotation
        if isinstance(value, Mapping) and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _unknown(value, inner, f"{prefix}{key}.", where)
