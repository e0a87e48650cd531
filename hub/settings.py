"""Settings of every process: ``cityhub.yaml``, then ``CITYHUB_`` environment variables, then flags.

Nested keys use two underscores in the environment (``CITYHUB_BROKER__BOOTSTRAP``). An unknown key is an error with a
suggestion. Every bound of the hub is named here with its unit.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from hub.model.errors import HubError, Problem
from hub.model.names import Names

CONFIG_FILE: Final = "cityhub.yaml"
PREFIX: Final = "CITYHUB_"
OTHER_VARIABLES: Final = frozenset(
    f"{PREFIX}{name}"
    for name in (
        *("CONFIG", "LANG", "DEBUG", "KAFKA_LIBS", "KERNEL", "LOG_STRICT"),
        *("FAILPOINT", "GOLDEN", "AGREE_PLANS"),  # of tests alone
    )
)
"""Variables that are read elsewhere, and are no settings."""
REQUESTS_MAX: Final = 40
"""Threads that serve works in (anyio's own bound); with more requests than that acts would wait behind readers again."""
CONNECTIONS_KEPT: Final = 32
"""Connections beyond those of requests that are worked on or wait: room for whoever comes then, and for answers on their way."""
_GIB: Final = 1024**3
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


def url_of(host: str, port: int) -> str:
    """Return the base URL of a server; an IPv6 address stands in brackets."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


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
    port: int = Field(default=19092, ge=0, le=65535)
    """Embedded broker's client port; 0: a free one, kept in the state folder."""
    controller_port: int = Field(default=19093, ge=0, le=65535)
    heap_mb: int = Field(default=768, ge=128, le=65_536)
    start_timeout_s: float = Field(default=60.0, ge=1, le=3600)
    replication: int = Field(default=1, ge=1, le=32)
    """Replication factor of the hub's topics; 3 on an outside cluster of three."""


class ServeSettings(_Section):
    """Where ``cityhub serve`` listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=18080, ge=0, le=65535)
    request_timeout_s: float = Field(default=30.0, gt=0, le=600)
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
    withdrawal_requests_max: int = Field(default=8, ge=1, le=32)
    """Requests that suspend or end an agreement."""
    health_requests_max: int = Field(default=4, ge=1, le=32)
    """``/livez``, ``/readyz`` and ``/metrics``."""
    waiting_requests_max: int = Field(default=64, ge=1, le=1024)
    """Requests of one kind that wait for a place; one more is answered HUB-SERVE-004. Fewer where the limit of open files is."""

    @property
    def places(self) -> Mapping[str, int]:
        """Requests that are worked on at the same time, by kind."""
        return {
            "health": self.health_requests_max,
            "act": self.act_requests_max,
            "withdrawal": self.withdrawal_requests_max,
            "check": self.check_requests_max,
            "read": self.read_requests_max,
        }

    def waiting_bound(self, connections: int) -> int:
        """Return how many requests of each kind may wait, so that they never take all of ``connections``; below 0: not even places fit."""
        left = connections - sum(self.places.values()) - CONNECTIONS_KEPT
        return min(self.waiting_requests_max, left // len(self.places))


class OfficerSettings(_Section):
    """The configured local officer: who acts while tokens have not come yet."""

    person: str = Field(default="local-officer", min_length=1, max_length=80)
    org: str = Field(default="city-hub", min_length=1, max_length=40)


class ExchangeSettings(_Section):
    """Bounds of the exchange path."""

    agreements_per_dataset_max: int = Field(default=AGREEMENTS_PER_DATASET_MAX, ge=1, le=AGREEMENTS_PER_DATASET_MAX)
    """Active and suspended agreements on one dataset; signing one more is refused."""
    step_ms: int = Field(default=100, ge=1, le=60_000)
    """A lane is drained at most this often; one that was idle, at once."""
    step_bytes_max: int = Field(default=2 * 1024 * 1024, ge=1024, le=_GIB)
    """Source bytes of a step; a lane that is always busy takes fewer, so that it commits about every ``step_ms``."""
    kernel_threads: int | None = Field(default=None, ge=1)
    """Threads of kernels; None: as many as there are processors, at most 4."""
    produce_connections: int = Field(default=3, ge=1, le=16)
    """Connections to each broker that lanes deliver over."""
    coordination_connections: int = Field(default=16, ge=1, le=64)
    """Connections to each broker that lanes begin and end their transactions over."""
    lane_queue_chunks: int = Field(default=8, ge=1, le=1024)
    inflight_bytes_max: int = Field(default=128 * 1024 * 1024, ge=1024, le=1024 * _GIB)
    """Bytes of one worker that are under way, over all lanes: half for what was fetched, half for what is delivered."""
    fetch_bytes_max: int = Field(default=1024 * 1024, ge=1024, le=_GIB)
    """Per partition and fetch: the size of a chunk."""
    fetch_answer_bytes_max: int = Field(default=8 * 1024 * 1024, ge=1024, le=_GIB)
    """Per fetch, over all partitions."""
    fetch_min_bytes: int = Field(default=256 * 1024, ge=1, le=_GIB)
    fetch_max_wait_ms: int = Field(default=100, ge=1, le=10_000)
    transaction_timeout_ms: int = Field(default=10_000, ge=100, le=900_000)
    session_timeout_s: float = Field(default=6.0, ge=6, le=1_800)
    heartbeat_interval_s: float = Field(default=1.0, ge=0.1, le=600)
    plan_fresh_s: float = Field(default=10.0, ge=3, le=60)
    """A step commits only when hub.plan's leader answered at most this long ago."""
    metadata_max_age_s: float = Field(default=10.0, ge=1, le=300)
    """How long a topic that was made again, or has more partitions, may stay unseen by the group."""
    quarantine_stop_records: int = Field(default=10_000, ge=0)
    """A lane stops before it has quarantined nearly all of so many records in a row; 0: never."""
    quarantine_stop_share: float = Field(default=0.9, gt=0, le=1)
    """What nearly all is."""
    undeliverable_wait_s: float = Field(default=600.0, ge=0, le=86_400)
    """How long a lane waits for a share partition that is gone, before its records are denied and the others go on."""
    undeliverable_retry_s: float = Field(default=30.0, gt=0, le=3_600)
    """How often a share partition whose records are denied is tried again."""
    metrics_port: int = Field(default=18081, ge=0, le=65535)
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
    backups_kept: int = Field(default=3, ge=1, le=100)
    """Copies of the embedded database that stay; one is made before each change of its tables."""


class Settings(BaseSettings):
    """All settings of one hub."""

    model_config = SettingsConfigDict(env_prefix="CITYHUB_", env_nested_delimiter="__", extra="forbid", frozen=True, allow_inf_nan=False)

    state: Path = Path(".cityhub")
    scope: str = Field(default="330100", pattern=r"^[0-9]{6,12}$")
    topics_prefix: str = Field(default="", pattern=r"^[A-Za-z0-9._-]{0,80}$")
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
        return url_of(self.serve.host, self.serve.port)

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store."""
        return self.ledger.url or f"sqlite:///{self.state.absolute() / 'hub.sqlite3'}"

    @property
    def keys_folder(self) -> Path:
        """Folder of ``master-<epoch>.key``, ``officer.key`` and ``trust.keys``."""
        return self.state / "keys"


def load_settings(*, file: Path | None = None, state: Path | None = None) -> Settings:
    """Read the settings; HUB-CONF-001 and HUB-CONF-002 list every fault at once, each with its place, its cause and a fix.

    ``file`` defaults to ``CITYHUB_CONFIG``, then ``cityhub.yaml`` in the working folder where there is one.
    """
    path = file or Path(os.environ.get("CITYHUB_CONFIG", CONFIG_FILE))
    values, lines = _read(path, asked_for=file is not None or "CITYHUB_CONFIG" in os.environ)
    places = _Places(path, lines)
    _refuse_unknown(values, places)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False)
        raise _not_valid(places.problem(fault["loc"], _PATTERNS.get(fault["loc"], fault["msg"])) for fault in found) from None
    except SettingsError:
        fix = "set each key by a variable of its own, as `CITYHUB_BROKER__PORT=19092`"
        raise HubError("HUB-CONF-001", "a variable that holds a whole section is no JSON object", fix) from None
    against = [places.problem(tuple(key.split(".")), cause, fix) for key, cause, fix in contradictions(settings)]
    if against:
        raise _not_valid(against)
    return settings.model_copy(update={"state": state}) if state is not None else settings


def contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Yield (key, cause, fix) of values that are valid each, and cannot work together."""
    exchange = settings.exchange
    if exchange.session_timeout_s < 3 * exchange.heartbeat_interval_s:
        cause = f"a session of {exchange.session_timeout_s:g} s holds fewer than three heartbeats"
        yield "exchange.heartbeat_interval_s", cause, f"{exchange.session_timeout_s / 3:g} at most, or a longer `session_timeout_s`"
    if exchange.transaction_timeout_ms < 2 * exchange.step_ms:
        cause = f"a step of {exchange.step_ms} ms does not fit into it"
        yield "exchange.transaction_timeout_ms", cause, f"{2 * exchange.step_ms} at least, or a shorter `step_ms`"
    largest = max(exchange.step_bytes_max, exchange.fetch_bytes_max, exchange.fetch_answer_bytes_max)
    if exchange.inflight_bytes_max < 2 * largest:
        cause = "half of it holds neither one step nor one fetch (`step_bytes_max`, `fetch_bytes_max`, `fetch_answer_bytes_max`)"
        yield "exchange.inflight_bytes_max", cause, f"{2 * largest} at least, or smaller steps and fetches"
    if exchange.fetch_min_bytes > exchange.fetch_answer_bytes_max:
        yield "exchange.fetch_min_bytes", "an answer never holds so much", f"{exchange.fetch_answer_bytes_max} at most"
    yield from _crowds(settings.serve)
    ports = {"serve.port": settings.serve.port, "exchange.metrics_port": exchange.metrics_port}
    if settings.broker.bootstrap is None:
        ports |= {"broker.port": settings.broker.port, "broker.controller_port": settings.broker.controller_port}
    for key, port in ports.items():
        twin = next((other for other, taken in ports.items() if other < key and taken == port != 0), None)
        if twin is not None:
            yield key, f"{port} is that of `{twin}` as well", "give each a port of its own"


def _crowds(serve: ServeSettings) -> Iterator[tuple[str, str, str]]:
    """Yield what would let requests of one kind keep those of another out."""
    places = sum(serve.places.values())
    if places > REQUESTS_MAX:
        cause = f"requests of all {len(serve.places)} kinds come to {places}, and {REQUESTS_MAX} are worked on at the same time"
        yield "serve.read_requests_max", cause, "make room for withdrawals, acts and health: lower it, or the others"
    needed = places + len(serve.places) * serve.waiting_requests_max + CONNECTIONS_KEPT
    if serve.connections_max < needed:
        cause = f"requests that are worked on or wait may take all of {serve.connections_max}: nobody else could connect"
        yield "serve.connections_max", cause, f"{needed} at least, or a smaller `waiting_requests_max`"


_PATTERNS: Final[Mapping[tuple[str | int, ...], str]] = {
    ("topics_prefix",): "a topic's name holds letters, digits, `.`, `_` and `-` alone; 80 characters at most",
    ("scope",): "a region code has 6-12 digits (GB/T 2260)",
}


class _Places:
    """Where a value came from: the variable that wins over the file, else the file and its line."""

    def __init__(self, path: Path, lines: Mapping[str, int]) -> None:
        self.path = path
        self._lines = lines

    def of(self, loc: Sequence[str | int]) -> str:
        variable = PREFIX + "__".join(map(str, loc)).upper()
        if variable in {name.upper() for name in os.environ}:
            return variable
        key = ".".join(map(str, loc))
        return f"{self.path}:{self._lines[key]}" if key in self._lines else str(self.path)

    def problem(self, loc: Sequence[str | int], cause: str, fix: str = "") -> Problem:
        default = _default(loc)
        fix = fix or (f"leave it out for `{default}`, or see README, settings" if default is not None else "see README, settings")
        return Problem(self.of(loc), ".".join(map(str, loc)), cause[:1].lower() + cause[1:], fix)


def _not_valid(problems: Iterable[Problem]) -> HubError:
    found = tuple(problems)
    shown = "1 setting is" if len(found) == 1 else f"{len(found)} settings are"
    return HubError("HUB-CONF-001", f"{shown} not valid", "mend each of them", problems=found)


def _default(loc: Sequence[str | int]) -> Any:
    """Return the default of a setting, None where it has none that can be shown."""
    model: Any = Settings
    for part in loc[:-1]:
        field = model.model_fields.get(part)
        model = field.annotation if field is not None else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return None
    field = model.model_fields.get(loc[-1]) if loc else None
    return field.default if field is not None and isinstance(field.default, str | int | float) and field.default != "" else None


def _read(path: Path, *, asked_for: bool) -> tuple[dict[str, Any], Mapping[str, int]]:
    """Return what the file says and the line of each key; HUB-CONF-001 when it cannot be read, or is no YAML."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        if asked_for:
            fix = "give the path of a cityhub.yaml, or leave the flag out"
            raise HubError("HUB-CONF-001", f"`{path}` does not exist", fix) from None
        return {}, {}
    except UnicodeDecodeError:
        raise HubError("HUB-CONF-001", f"`{path}` is not UTF-8", "save it as UTF-8") from None
    except OSError as error:
        raise HubError("HUB-CONF-001", f"`{path}` cannot be read: {error.strerror}", "give a file that this user may read") from None
    try:
        loaded = yaml.safe_load(text)
        lines = dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader), ""))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        fix = "look at quotes, colons and the spaces before keys there"
        raise HubError("HUB-CONF-001", f"`{path}` is no YAML{where}", fix) from None
    if loaded is None:
        return {}, {}
    if not isinstance(loaded, dict):
        raise HubError("HUB-CONF-001", f"`{path}` holds no mapping", "write `key: value` lines; README lists the keys")
    return loaded, lines


def _lines(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            yield name, key.start_mark.line + 1
            yield from _lines(value, f"{name}.")


def _refuse_unknown(values: Mapping[str, Any], places: _Places) -> None:
    problems = (*_unknown(values, Settings, "", places), *_unknown_variables())
    if problems:
        shown = "1 key is" if len(problems) == 1 else f"{len(problems)} keys are"
        raise HubError("HUB-CONF-002", f"{shown} unknown", "mend each of them", problems=problems)


def _unknown(values: Mapping[str, Any], model: type[BaseModel], prefix: str, places: _Places) -> Iterator[Problem]:
    for key, value in values.items():
        known = model.model_fields
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean `{prefix}{near[0]}`?" if near else f"known here: {', '.join(sorted(known))}"
            yield Problem(places.of([*prefix.split(".")[:-1], str(key)]), f"{prefix}{key}", "unknown key", hint)
            continue
        inner = _section(known[key].annotation)
        if isinstance(value, Mapping) and inner is not None:
            yield from _unknown(value, inner, f"{prefix}{key}.", places)


def _unknown_variables() -> Iterator[Problem]:
    """Yield the variables that look like ours and are none: one underscore in the place of two is easily written."""
    known = {*OTHER_VARIABLES, *(PREFIX + name for name in _variables(Settings))}
    for variable in sorted(os.environ):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            flat = {name.replace("__", "_"): name for name in known}
            near = difflib.get_close_matches(variable.upper().replace("__", "_"), flat, n=1, cutoff=0.8)
            hint = f"did you mean `{flat[near[0]]}`?" if near else "unset it; sections and keys are joined by two underscores"
            yield Problem(variable, variable, "unknown variable", hint)


def _variables(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        yield f"{prefix}{name}".upper()
        if inner is not None:
            yield from _variables(inner, f"{prefix}{name}__")


def _section(annotation: Any) -> type[BaseModel] | None:
    """Return the section that a key holds, also where it may be left out."""
    kinds = [annotation, *get_args(annotation)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
