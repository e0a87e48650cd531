"""Settings of kafka-python's clients, in one place: read committed, no automatic commits, bounded waits."""

from typing import Any, Final

REQUEST_TIMEOUT_MS: Final = 15_000
CONNECT_TIMEOUT_MS: Final = 10_000


def consumer_config(bootstrap: str, *, client_id: str, group: str | None = None) -> dict[str, Any]:
    """Return arguments of a consumer that sees committed records only and commits nothing by itself."""
    return {
        "bootstrap_servers": bootstrap,
        "client_id": client_id,
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "isolation_level": "read_committed",
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_MS,
    }


def producer_config(bootstrap: str, *, client_id: str, transactional_id: str | None = None, timeout_ms: int = 10_000) -> dict[str, Any]:
    """Return arguments of an idempotent producer that waits for all replicas; transactional where an id is given."""
    found: dict[str, Any] = {
        "bootstrap_servers": bootstrap,
        "client_id": client_id,
        "acks": "all",
        "enable_idempotence": True,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_MS,
    }
    if transactional_id is not None:
        found |= {"transactional_id": transactional_id, "transaction_timeout_ms": timeout_ms}
    return found
