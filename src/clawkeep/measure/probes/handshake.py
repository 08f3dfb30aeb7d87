"""The first message of a WireGuard handshake, made by hand, and what comes back to it.

Only so can one packet differ from another in nothing but its key: what answers a declared key and is silent to a
stranger's has looked at the key. Source: the WireGuard paper (Donenfeld, NDSS 2017), sections 5.4.2 and 5.4.4.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import socket
import struct
import time

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
LABEL_MAC1 = b"mac1----"
INITIATION, RESPONSE, COOKIE = 1, 2, 3
TAI = 2**62 + 10  # TAI64N counts from here; leap seconds do not matter, only that time grows
NONCE = bytes(12)


def _hash(*parts: bytes) -> bytes:
    return hashlib.blake2s(b"".join(parts)).digest()


def _mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.blake2s).digest()


def _derive(key: bytes, data: bytes) -> tuple[bytes, bytes]:
    first = _mac(_mac(key, data), b"\x01")
    return first, _mac(_mac(key, data), first + b"\x02")


def _public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def initiation(private: bytes, host: bytes) -> tuple[int, bytes]:
    """A handshake initiation from the holder of `private` to the host with the public key `host`, and its number."""
    own, ephemeral, peer = (
        X25519PrivateKey.from_private_bytes(private),
        X25519PrivateKey.generate(),
        X25519PublicKey.from_public_bytes(host),
    )
    number = secrets.randbits(32)
    chain = _hash(CONSTRUCTION)
    transcript = _hash(_hash(chain, IDENTIFIER), host)
    chain, _ = _derive(chain, _public(ephemeral))
    transcript = _hash(transcript, _public(ephemeral))
    chain, key = _derive(chain, ephemeral.exchange(peer))
    static = ChaCha20Poly1305(key).encrypt(NONCE, _public(own), transcript)
    transcript = _hash(transcript, static)
    chain, key = _derive(chain, own.exchange(peer))
    now = time.time_ns()
    stamp = struct.pack("!QI", TAI + now // 10**9, now % 10**9)
    sealed = ChaCha20Poly1305(key).encrypt(NONCE, stamp, transcript)
    message = struct.pack("<B3xI", INITIATION, number) + _public(ephemeral) + static + sealed
    mac1 = hashlib.blake2s(message, digest_size=16, key=_hash(LABEL_MAC1, host)).digest()
    return number, message + mac1 + bytes(16)


def shake(private: str, host_key: str, address: str, port: int, seconds: float) -> str:
    """`answered` when the host replies to this very initiation, `silent` when nothing comes within `seconds`.

    Keys are base64. Anything else that comes back is named; an ICMP error is `refused`.
    """
    version = ipaddress.ip_address(address).version
    with socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.settimeout(seconds)
        client.connect((address, port))
        number, message = initiation(base64.b64decode(private), base64.b64decode(host_key))
        client.send(message)
        try:
            reply = client.recv(2048)
        except TimeoutError:
            return "silent"
        except ConnectionRefusedError:
            return "refused"
    if len(reply) >= 12 and reply[0] == RESPONSE and struct.unpack_from("<I", reply, 8)[0] == number:
        return "answered"
    if len(reply) >= 8 and reply[0] == COOKIE and struct.unpack_from("<I", reply, 4)[0] == number:
        return "answered"
    return f"{len(reply)} bytes of something else"


def stranger() -> str:
    """A private key that nobody knows, in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode("ascii")
