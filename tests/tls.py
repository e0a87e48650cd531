"""Certificates of one afternoon, and a broker that speaks TLS with them. Made anew for each run; no key outlives its folder."""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hub.broker.ports import HOST, choose_free

_LIFE: Final = dt.timedelta(days=2)


class Authority(NamedTuple):
    """A signer of certificates, and the file that says whom to trust."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    file: Path


def authority(folder: Path, name: str = "city test authority") -> Authority:
    """Return a new signer, with ``ca.pem`` in ``folder``."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), _named(name)
    certificate = _draft(subject, subject, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    file = folder / "ca.pem"
    file.write_bytes(certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return Authority(subject, key, file)


def signed(signer: Authority, folder: Path, name: str) -> tuple[Path, Path]:
    """Return certificate and key files of ``name``, valid for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST)), x509.DNSName("localhost")])
    certificate = _draft(_named(name), signer.name, key).add_extension(address, critical=False).sign(signer.key, hashes.SHA256())
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files


def listener(signer: Authority, folder: Path) -> tuple[int, dict[str, str]]:
    """Return a free port and the broker's properties of a TLS listener there, which asks its clients for certificates."""
    certificate, key = signed(signer, folder, "broker")
    store = folder / "broker-store.pem"
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    port = choose_free()
    return port, {
        "listeners": f"TLS://{HOST}:{port}",
        "advertised.listeners": f"TLS://{HOST}:{port}",
        "listener.security.protocol.map": "TLS:SSL",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(store),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(signer.file),
        "ssl.client.auth": "required",
    }


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _draft(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + _LIFE)
    )
