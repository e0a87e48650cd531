"""Ports of 127.0.0.1: whether one is free, and choosing one that stays free while nobody listens on it.

A client that tries again and again to reach a port of the kernel's range for outgoing connections may be given that very port
as its own and connect to itself (TCP's simultaneous open): then a broker that was killed could not come back to it. So ports
are chosen below that range.
"""

import secrets
import socket
from pathlib import Path
from typing import Final

from hub.model.errors import HubError

HOST: Final = "127.0.0.1"
_LOWEST: Final = 20_000
_OUTGOING: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OUTGOING_LOWEST: Final = 32_768
_TRIES: Final = 200


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def check_free(port: int, *, setting: str) -> None:
    """Raise HUB-BROKER-004 for a port that is taken; ``setting`` is the one to change."""
    if not is_free(port):
        raise taken(port, setting=setting)


def taken(port: int, *, setting: str) -> HubError:
    """Return the error for a port that something else listens on."""
    return HubError("HUB-BROKER-004", f"port {port} of {HOST} is taken", f"stop what listens there, or set `{setting}`")


def choose_free() -> int:
    """Return a free port that the kernel does not hand out to outgoing connections."""
    lowest = _lowest_outgoing()
    for _ in range(_TRIES if lowest > _LOWEST else 0):
        port = _LOWEST + secrets.randbelow(lowest - _LOWEST)
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        chosen: int = probe.getsockname()[1]
        return chosen


def _lowest_outgoing() -> int:
    try:
        return int(_OUTGOING.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _OUTGOING_LOWEST
