"""What the embedded broker reads: its properties, its log configuration, its Java options. Pure texts, no I/O.

Every path is relative to the folder of the broker, in which Java runs: Kafka reads properties as ISO 8859-1 and splits
``log.dirs`` at commas, so that no path with a Chinese name or a comma may stand in them, and a folder may be moved.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from hub.broker.ports import HOST

LOG_NAME: Final = "broker.log"
LOG_CONFIGURATION_NAME: Final = "log4j2.xml"
TEMPORARY_NAME: Final = "tmp"
FENCING_LOG_CONFIGURATION_NAME: Final = "fencing-log4j2.xml"
ARCHIVE_NAME: Final = "kafka.jsa"
"""Beside the jars: their classes as Java has them in memory, see ``archive.py``."""
KEEP_FOR_EVER_MINUTES: Final = 2_147_483_647
SESSION_TIMEOUT_MS: Final = 3_000
HEARTBEAT_INTERVAL_MS: Final = 500
INTERNAL_PARTITIONS: Final = 4
CLEANER_BYTES: Final = 16 * 1024 * 1024
"""Buffer of the log cleaner: 128 MiB by default, a sixth of our heap; this holds 700 thousand keys a round."""

LOG_CONFIGURATION: Final = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <RollingFile name="file" fileName="{LOG_NAME}" filePattern="{LOG_NAME}.%i">
      <PatternLayout charset="UTF-8" pattern="%d{{ISO8601}} %p %c{{1}} %m%n%throwable"/>
      <Policies><SizeBasedTriggeringPolicy size="16 MB"/></Policies>
      <DefaultRolloverStrategy max="2"/>
    </RollingFile>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="file"/></Root>
    <Logger name="kafka.server.KafkaRaftServer" level="INFO"/>
    <Logger name="org.apache.kafka.storage.internals.log.LogManager" level="INFO"/>
  </Loggers>
</Configuration>
"""

FENCING_LOG_CONFIGURATION: Final = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders>
    <Console name="out"><PatternLayout charset="UTF-8" pattern="%d{ISO8601} %p %c{1} %m%n%throwable"/></Console>
  </Appenders>
  <Loggers>
    <Root level="WARN"><AppenderRef ref="out"/></Root>
    <Logger name="org.apache.kafka.controller.ReplicationControlManager" level="INFO"/>
  </Loggers>
</Configuration>
"""
"""To standard output, so that ``aftermath`` reads what this one start says: that it fenced the broker."""
FENCING_SESSION_MS: Final = 100


_LISTS: Final = ("listeners", "advertised.listeners", "listener.security.protocol.map")


def properties(*, port: int, controller_port: int, home: str, more: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return server.properties of a single node (KRaft, broker and controller in one) whose logs stand under ``home``.

    What ``more`` says is added, and stands above the rest; a listener more is added by its own three lines.
    """
    lines: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
        "log.dirs": f"{home}/data",
        "metadata.log.dir": f"{home}/metadata",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": INTERNAL_PARTITIONS,
        "offsets.retention.minutes": KEEP_FOR_EVER_MINUTES,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": INTERNAL_PARTITIONS,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        "share.coordinator.state.topic.num.partitions": 1,
        "group.initial.rebalance.delay.ms": 0,
        "broker.session.timeout.ms": SESSION_TIMEOUT_MS,
        "broker.heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
        "log.cleaner.dedupe.buffer.size": CLEANER_BYTES,
    }
    for name, value in more.items():
        lines[name] = f"{lines[name]},{value}" if name in _LISTS else value
    return _text(lines)


def fencing_properties(*, controller_port: int, home: str) -> str:
    """Return the properties of the same node as a controller alone, which fences its broker at once: see ``aftermath``."""
    return _text(
        {
            "process.roles": "controller",
            "node.id": 1,
            "listeners": f"CONTROLLER://{HOST}:{controller_port}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": f"{HOST}:{controller_port}",
            "log.dirs": f"{home}/data",
            "metadata.log.dir": f"{home}/metadata",
            "broker.session.timeout.ms": FENCING_SESSION_MS,
            "broker.heartbeat.interval.ms": FENCING_SESSION_MS // 2,
        }
    )


def _text(lines: Mapping[str, object]) -> str:
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def java_command(java: str, *, libs: Path, heap_mb: int, options: Sequence[str], arguments: Sequence[str]) -> list[str]:
    """Return the command line that runs a class of Kafka's in the broker's folder; ``options`` are more of Java's."""
    return [
        java,
        f"-Xmx{heap_mb}m",
        "-XX:+UseG1GC",
        "-XX:+ExitOnOutOfMemoryError",
        "-XX:+PerfDisableSharedMem",
        "-XX:ErrorFile=java_error.log",
        "-Djava.awt.headless=true",
        "-Djava.net.preferIPv4Stack=true",
        f"-Djava.io.tmpdir={TEMPORARY_NAME}",
        f"-Dlog4j2.configurationFile={LOG_CONFIGURATION_NAME}",
        *options,
        "-cp",
        f"{libs}/*",
        *arguments,
    ]
