"""How a cluster is reached safely: TLS by its address, so that every client of every library has it and none can forget it.

A process says once which addresses speak TLS (``secure``); whoever makes a client asks for the arguments by address. An address
that nobody named is plain.
"""

import ssl
from pathlib import Path
from typing import Any, Final

from hub.model.errors import HubError
from hub.settings import Settings, TlsSettings

_CONTEXTS: Final[dict[str, ssl.SSLContext]] = {}


def secure(settings: Settings) -> None:
    """Speak TLS to the cluster of ``settings`` from now on, where they say so; HUB-CONF-001 names a file that cannot be used."""
    if settings.broker.tls is not None:
        _CONTEXTS[settings.bootstrap] = _context(settings.broker.tls)


def context(bootstrap: str) -> ssl.SSLContext | None:
    """Return what TLS to the cluster at ``bootstrap`` needs, None where it is plain."""
    return _CONTEXTS.get(bootstrap)


def security(bootstrap: str) -> dict[str, Any]:
    """Return the arguments that kafka-python's and aiokafka's clients take for the cluster at ``bootstrap``."""
    found = context(bootstrap)
    return {} if found is None else {"security_protocol": "SSL", "ssl_context": found}


def _context(tls: TlsSettings) -> ssl.SSLContext:
    """Return a context that checks the broker's certificate and name, and shows our own certificate where there is one."""
    made = ssl.create_default_context(cafile=_readable(tls.ca, "ca"))
    if tls.certificate is not None:
        certificate, key = _readable(tls.certificate, "certificate"), _readable(tls.key, "key")
        try:
            made.load_cert_chain(str(certificate), key)
        except ssl.SSLError as error:
            fix = "write both as PEM, the key without a password and of this very certificate"
            raise HubError("HUB-CONF-001", f"`broker.tls.certificate` and `broker.tls.key` cannot be used: {error.reason}", fix) from None
    return made


def _readable(path: Path | None, name: str) -> str | None:
    if path is None:
        return None
    try:
        path.read_bytes()
    except OSError as error:
        fix = f"set `broker.tls.{name}` to a PEM file that this process may read"
        raise HubError("HUB-CONF-001", f"`{path}` of `broker.tls.{name}` cannot be read: {error.strerror}", fix) from None
    return str(path)
