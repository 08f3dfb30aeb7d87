"""The lab's own certificate authorities, made anew for every lab and trusted by nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFE = timedelta(days=30)
_EARLIER = timedelta(days=1)  # a restored guest's clock may be behind
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM text."""

    certificate: str
    key: str


class Authority:
    """An authority whose key lives as long as this object."""

    def __init__(self, name: str = "Clawkeep lab authority") -> None:
        """Make its key and its certificate."""
        self._name = name
        self._key = generate_private_key(SECP256R1())
        self._identity = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = (
            _certificate(name, name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .add_extension(self._identity, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.certificate = made.public_bytes(_PEM).decode("ascii")

    def issue(self, names: Sequence[str]) -> Pair:
        """A certificate for `names` that may serve and call, with its key."""
        key = generate_private_key(SECP256R1())
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        # Python from 3.13 on wants the identifiers of both keys in every certificate (RFC 5280, 4.2.1.1).
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._identity)
        made = (
            _certificate(names[0], self._name, key)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return Pair(made.public_bytes(_PEM).decode("ascii"), private.decode("ascii"))


def create(folder: Path, names: Sequence[str]) -> Path:
    """Write `ca.pem` (public) and `site.pem` (key, certificate for `names` and chain; 0600); return the latter."""
    authority = Authority()
    pair = authority.issue(names)
    (folder / "ca.pem").write_text(authority.certificate, encoding="ascii")
    return private(folder / "site.pem", pair.key + pair.certificate + authority.certificate)


def private(path: Path, text: str) -> Path:
    """Write a file that its owner alone reads, from its first byte on; return its path."""
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="ascii")
    return path


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


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
