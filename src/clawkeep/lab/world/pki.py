"""The lab's own certificate authority, made anew for every lab and trusted by nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import NameOID

_LIFE = timedelta(days=30)
_EARLIER = timedelta(days=1)  # a restored guest's clock may be behind


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(subject: str, issuer: str, key: EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _LIFE)
    )


def create(folder: Path, names: Sequence[str]) -> Path:
    """Write `ca.pem` (public) and `site.pem` (key, certificate for `names` and chain; 0600); return the latter."""
    authority = "Clawkeep lab authority"
    ca_key = generate_private_key(SECP256R1())
    ca = (
        _certificate(authority, authority, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = generate_private_key(SECP256R1())
    leaf = (
        _certificate(names[0], authority, key)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    ca_text = ca.public_bytes(pem)
    (folder / "ca.pem").write_bytes(ca_text)
    site = folder / "site.pem"
    site.touch(mode=0o600)
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    site.write_bytes(private + leaf.public_bytes(pem) + ca_text)
    return site
