"""clawkeep-log-send: rsyslog hears that records are gone when the store has said so, and never before."""

from __future__ import annotations

import datetime
import importlib
import io
import re
import socket
import ssl
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from clawkeep_host.log import send
from clawkeep_host.package import PROGRAMS

NAME = "store.example"


def _certificate(
    folder: Path, stem: str, name: str, key_usage: bool, by: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = (by[0].subject, by[1]) if by else (subject, key)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=key_usage, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    (folder / f"{stem}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    plain = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / f"{stem}.key").write_bytes(plain)
    return made, key


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a host and of the store."""
    folder = tmp_path_factory.mktemp("tls")
    authority = _certificate(folder, "ca", "authority", True, None)
    _certificate(folder, "host", "host.example", False, authority)
    _certificate(folder, "store", NAME, False, authority)
    return folder


FRAME = re.compile(rb"(\d+) (\w+) (\d+) ")


class Peer:
    """A store of a few words: each frame is answered by `answer(number, command, data)`."""

    def __init__(self, tls: Path) -> None:
        self.answer: Callable[[int, str, bytes], bytes] = self.fine
        self.taken: list[bytes] = []
        self.connections = 0
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(tls / "store.pem", tls / "store.key")
        self.context.load_verify_locations(tls / "ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def fine(self, number: int, command: str, data: bytes) -> bytes:
        if command == "syslog":
            self.taken.append(data)
        return b"%d rsp 6 200 OK\n" % number

    def serve(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            try:
                with self.context.wrap_socket(raw, server_side=True) as wire:
                    self.talk(wire.makefile("rb"), wire)
            except (OSError, ValueError):
                continue

    def talk(self, stream: io.BufferedReader, wire: ssl.SSLSocket) -> None:
        while True:
            head = b""
            while not FRAME.fullmatch(head):
                byte = stream.read(1)
                if not byte:
                    return
                head += byte
            frame = FRAME.fullmatch(head)
            assert frame
            data = stream.read(int(frame[3]))
            stream.read(1)
            answer = self.answer(int(frame[1]), frame[2].decode(), data)
            if not answer:
                return
            wire.sendall(answer)


@pytest.fixture
def peer(tls: Path) -> Iterator[Peer]:
    made = Peer(tls)
    yield made
    made.listener.close()


@pytest.fixture
def store(peer: Peer, tls: Path) -> send.Store:
    return send.Store("127.0.0.1", peer.port, NAME, tls)


def test_records_arrive_in_order_over_one_connection(peer: Peer, store: send.Store) -> None:
    records = [b"record %d" % n for n in range(300)]
    store.deliver(records)
    store.deliver([b"more"])
    store.deliver([])
    assert peer.taken == [*records, b"more"]
    assert peer.connections == 1
    store.drop()
    store.drop()


def test_a_store_of_another_name_or_without_the_authority_gets_nothing(peer: Peer, tls: Path, tmp_path: Path) -> None:
    for made in (send.Store("127.0.0.1", peer.port, "other.example", tls), _of_another(peer, tls, tmp_path)):
        with pytest.raises(ssl.SSLError):
            made.deliver([b"x"])
        assert made.wire is None
    assert peer.taken == []


def _of_another(peer: Peer, tls: Path, folder: Path) -> send.Store:
    _certificate(folder, "ca", "another authority", True, None)
    for name in ("host.pem", "host.key"):
        (folder / name).write_bytes((tls / name).read_bytes())
    return send.Store("127.0.0.1", peer.port, NAME, folder)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"%d rsp 8 500 full\n", "refuses: 500 full"),
        (b"%d serverclose 0\n", "closes the connection"),
        (b"%d other 6 200 OK\n", "refuses"),
        (b"%d rsp x 200 OK\n", "does not speak RELP"),
        (b"%d rsp " + b"9" * 12 + b" 200 OK\n", "does not speak RELP"),
        (b"x" * 50, "does not speak RELP"),
        (b"", "has closed the connection"),
    ],
)
def test_what_the_store_does_not_take_is_not_gone(peer: Peer, store: send.Store, answer: bytes, said: str) -> None:
    store.deliver([b"first"])
    peer.answer = lambda number, *_: answer % number if b"%d" in answer else answer
    with pytest.raises(send.Refused, match=said):
        store.deliver([b"second"])
    peer.answer = peer.fine
    store.deliver([b"second"])
    assert (peer.taken, peer.connections) == ([b"first", b"second"], 2)


def test_numbers_begin_anew_with_a_new_connection(peer: Peer, store: send.Store) -> None:
    store.deliver([b"first"])
    store.number = send.LAST
    with pytest.raises(send.Refused, match="used up"):
        store.deliver([b"second"])
    store.deliver([b"second"])
    assert (peer.taken, store.number) == ([b"first", b"second"], 2)


def served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store: object, *lines: bytes
) -> list[str]:
    """What rsyslog hears."""
    stdin = types.SimpleNamespace(buffer=io.BytesIO(b"".join(line + b"\n" for line in lines)))
    monkeypatch.setattr(sys, "stdin", stdin)
    send.serve(store)  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_a_batch_is_answered_when_it_was_delivered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[list[bytes]] = []
    pauses: list[float] = []
    failures = [OSError("away\nfor now"), send.Refused("x" * 500), ValueError("odd"), None, OSError("again"), None]

    def deliver(batch: list[bytes]) -> None:
        given.append(batch)
        failure = failures.pop(0)
        if failure:
            raise failure

    monkeypatch.setattr("time.sleep", pauses.append)
    batch = [b"BEGIN TRANSACTION", b"one", b"two", b"COMMIT TRANSACTION"]
    answers = served(monkeypatch, capsys, types.SimpleNamespace(deliver=deliver), *batch * 6)
    assert answers[0] == "OK"
    commits = answers[4::4]
    assert [answers[n::4] for n in (1, 2, 3)] == [["OK"] * 6, ["DEFER_COMMIT"] * 6, ["DEFER_COMMIT"] * 6]
    assert commits == ["Error: away for now", "Error: " + "x" * 293, "Error: odd", "OK", "Error: again", "OK"]
    assert given == [[b"one", b"two"]] * 6
    assert pauses == [0.5, 1.0, 2.0, 0.5]


@pytest.mark.parametrize("name", sorted(name for name in PROGRAMS if name.startswith("clawkeep-log-")))
def test_each_log_program_tells_its_version(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(PROGRAMS[name])
    monkeypatch.setattr(sys, "argv", [name, "--version"])
    with pytest.raises(SystemExit) as ended:
        module.main()
    assert ended.value.code == 0
    assert re.fullmatch(rf"{name} \d+\.\d+\.\d+\+[0-9a-f]{{16}}\n", capsys.readouterr().out)
    assert name == module.PROGRAM
