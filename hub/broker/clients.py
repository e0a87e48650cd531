"""Settings of kafka-python's clients, in one place: read committed, nothing committed by itself, every wait bounded.

TLS is the cluster's: see ``security``.
"""

from typing import Any, Final

from hub.broker.security import security

REQUEST_TIMEOUT_MS: Final = 15_000
CONNECT_TIMEOUT_MS: Final = 10_000
RECONNECT_BACKOFF_MAX_MS: Final = 1_000
DELIVERY_TIMEOUT_MS: Final = 30_000
TRANSACTION_TIMEOUT_MS: Final = 10_000
RESET: Final = "none"


def consumer_config(bootstrap: str, *, client_id: str, group: str | None = None) -> dict[str, Any]:
    """Return arguments of a consumer that sees committed records only, commits nothing by itself and never jumps.

    It begins nowhere: ``seek`` first. A position that the log does not hold raises, rather than skipping or doubling records.
    """
    return _common(bootstrap, client_id=client_id) | {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": RESET,
        "isolation_level": "read_committed",
    }


def producer_config(
    bootstrap: str, *, client_id: str, transactional_id: str | None = None, timeout_ms: int = TRANSACTION_TIMEOUT_MS
) -> dict[str, Any]:
    """Return arguments of an idempotent producer that waits for all replicas; transactional where an id is given.

    ``timeout_ms`` is the time-out of a transaction. ``flush`` succeeds though a batch expired: await every future.
    """
    found = _common(bootstrap, client_id=client_id) | {
        "acks": "all",
        "enable_idempotence": True,
        "delivery_timeout_ms": DELIVERY_TIMEOUT_MS,
        "max_block_ms": DELIVERY_TIMEOUT_MS,
    }
    if transactional_id is not None:
        found |= {"transactional_id": transactional_id, "transaction_timeout_ms": timeout_ms}
    return found


def _common(bootstrap: str, *, client_id: str) -> dict[str, Any]:
    return {
        "bootstrap_servers": bootstrap,
        "client_id": client_id,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "bootstrap_timeout_ms": CONNECT_TIMEOUT_MS,
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MAX_MS,
        "allow_auto_create_topics": False,
        "metrics_enabled": False,
    } | security(bootstrap)
