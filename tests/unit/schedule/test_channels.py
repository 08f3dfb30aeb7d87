"""Syslog, mail and web hook, each against a stand-in on loopback: what arrives, what is refused, what is never told."""

from __future__ import annotations

import asyncio
import email
import http.server
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword

from clawkeep.base.errors import ClawkeepError
from clawkeep.lab.world import pki
from clawkeep.schedule import mail, syslog, webhook
from clawkeep.schedule.config import Mail, Webhook
from clawkeep.schedule.notice import Level, Notice

NOTICE = Notice.of(
    Level.WARNING, "node: a required control fails", ["fail NET-04 on w\u00e4b1: port 3000", "."], {"n": 1}
)
PASSWORD = "correct-horse"  # noqa: S105 - what must not be found anywhere
TOKEN = "battery-staple"  # noqa: S105 - as above


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.pem and site.pem, a certificate for localhost."""
    folder = tmp_path_factory.mktemp("pki")
    pki.create(folder, ["localhost"])
    return folder


def server_tls(authority: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "site.pem")
    return context


class Sandbox:
    """What a mail server took."""

    def __init__(self, refuse: str = "") -> None:
        self.messages: list[Message] = []
        self.recipients: list[str] = []
        self.refuse = refuse

    async def handle_RCPT(self, _server: SMTP, _session: object, envelope: Envelope, address: str, _: object) -> str:
        if address == self.refuse:
            return f"550 {PASSWORD} no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.messages.append(email.message_from_bytes(envelope.content, policy=default))
        self.recipients += envelope.rcpt_tos
        return "250 kept"


@contextmanager
def post_office(sandbox: Sandbox, *, tls: ssl.SSLContext | None = None, **options: Any) -> Iterator[int]:
    """A mail server on a loopback port, in a thread of its own; `tls` from the first byte on."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def begin() -> asyncio.Server:
        return await loop.create_server(
            lambda: SMTP(sandbox, hostname="localhost", loop=loop, **options), "127.0.0.1", 0, ssl=tls
        )

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result(10)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def to(port: int, **more: Any) -> Mail:
    settings = {
        "host": "localhost",
        "port": port,
        "sender": "Clawkeep <ck@example.org>",
        "recipients": ["a@example.org"],
    }
    return Mail.model_validate({**settings, **more})


def test_mail_arrives_as_it_was_meant() -> None:
    sandbox = Sandbox()
    with post_office(sandbox) as port:
        mail.send(to(port, security="none", recipients=["a@example.org", "b@example.org"]), NOTICE, "node")
    (message,) = sandbox.messages
    assert message["Subject"] == "[clawkeep] node: a required control fails"
    assert message["From"] == "Clawkeep <ck@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert message.get_content().splitlines() == list(NOTICE.lines)  # type: ignore[attr-defined]
    assert sandbox.recipients == ["a@example.org", "b@example.org"]


def authenticator(heard: list[object]) -> Callable[..., AuthResult]:
    def check(_server: object, _session: object, _envelope: object, _mechanism: str, data: object) -> AuthResult:
        assert isinstance(data, LoginPassword)
        heard.append((data.login, data.password))
        return AuthResult(success=data.password == PASSWORD.encode(), handled=False)

    return check


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    path.chmod(0o600)
    return path


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")  # there is TLS, from the first byte on
@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_password_goes_over_tls(authority: Path, password: Path, security: str) -> None:
    sandbox, heard = Sandbox(), list[object]()
    options: dict[str, Any] = {"authenticator": authenticator(heard), "auth_required": True}
    if security == "starttls":
        options |= {"tls_context": server_tls(authority), "require_starttls": True}
    else:
        options |= {"tls": server_tls(authority), "auth_require_tls": False}
    with post_office(sandbox, **options) as port:
        way = to(port, security=security, user="ck", password_file=password, ca_file=authority / "ca.pem")
        mail.send(way, NOTICE, "node")
    assert heard == [(b"ck", PASSWORD.encode())]
    assert len(sandbox.messages) == 1


def test_a_server_without_tls_never_hears_the_password(authority: Path, password: Path) -> None:
    heard: list[object] = []
    with post_office(Sandbox(), authenticator=authenticator(heard), auth_require_tls=False) as port:
        way = to(port, user="ck", password_file=password, ca_file=authority / "ca.pem")
        with pytest.raises(ClawkeepError, match="broke the conversation off: SMTPNotSupportedError"):
            mail.send(way, NOTICE, "node")
    assert heard == []


def test_a_server_that_nobody_vouches_for_gets_nothing(authority: Path) -> None:
    sandbox = Sandbox()
    with (
        post_office(sandbox, tls_context=server_tls(authority)) as port,
        pytest.raises(ClawkeepError, match="not trusted"),
    ):
        mail.send(to(port), NOTICE, "node")
    assert sandbox.messages == []


def test_a_refused_login_is_told_without_the_password(authority: Path, password: Path) -> None:
    password.write_text("wrong-horse")
    options: dict[str, Any] = {"tls_context": server_tls(authority), "authenticator": authenticator([])}
    with post_office(Sandbox(), **options) as port:
        way = to(port, user="ck", password_file=password, ca_file=authority / "ca.pem")
        with pytest.raises(ClawkeepError) as raised:
            mail.send(way, NOTICE, "node")
    assert str(raised.value) == f"the mail server localhost:{port} refuses the login (status 535)"


def test_refused_people_are_named_and_the_others_have_their_mail() -> None:
    sandbox = Sandbox(refuse="b@example.org")
    with post_office(sandbox) as port:
        with pytest.raises(ClawkeepError, match=r"refuses b@example\.org and took the mail for the others"):
            mail.send(to(port, security="none", recipients=["a@example.org", "b@example.org"]), NOTICE, "node")
        with pytest.raises(ClawkeepError) as raised:
            mail.send(to(port, security="none", recipients=["b@example.org"]), NOTICE, "node")
    assert PASSWORD not in str(raised.value)
    assert sandbox.recipients == ["a@example.org"]


def test_nobody_at_the_port_is_one_sentence() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ClawkeepError, match=f"localhost:{port} cannot be reached: "):
            mail.send(to(port, security="none"), NOTICE, "node")


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match=r"the authorities in .*nothing cannot be read"):
        mail.send(to(1, security="tls", ca_file=tmp_path / "nothing"), NOTICE, "node")


@pytest.mark.parametrize(
    "text", ["x\r\nBcc: evil@example.org", "x\nSubject: y", "\u202eflah \x1b[2J", "\U0001f980" * 90]
)
def test_a_hosts_words_make_no_header(text: str) -> None:
    made = mail.message(to(1), Notice.of(Level.INFO, text, [text]), text)
    parsed = email.message_from_bytes(made.as_bytes(), policy=default)
    assert parsed.keys() == made.keys()
    assert parsed["Bcc"] is None
    assert "\n" not in parsed["Subject"]
    assert "\x1b" not in parsed.get_content()


class Receiver(http.server.BaseHTTPRequestHandler):
    status, location = 200, ""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.path, dict(self.headers), json.loads(body)))  # type: ignore[attr-defined]
        self.send_response(self.status)
        if self.location:
            self.send_header("Location", self.location)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def receiver(authority: Path, **traits: Any) -> Iterator[tuple[int, list[tuple[str, dict[str, str], Any]]]]:
    """An https receiver on a loopback port, and what it has seen."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Traits", (Receiver,), traits))
    server.seen = []  # type: ignore[attr-defined]
    server.socket = server_tls(authority).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1], server.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def hook(tmp_path: Path, authority: Path) -> Callable[..., Webhook]:
    def made(url: str, *, token: str = "", trusted: bool = True) -> Webhook:
        for name, text in (("url", url), ("token", token)):
            (tmp_path / name).write_text(text)
            (tmp_path / name).chmod(0o600)
        return Webhook(
            url_file=tmp_path / "url",
            token_file=tmp_path / "token" if token else None,
            ca_file=authority / "ca.pem" if trusted else None,
        )

    return made


def test_a_web_hook_gets_text_and_data(authority: Path, hook: Callable[..., Webhook]) -> None:
    with receiver(authority) as (port, seen):
        webhook.send(hook(f"https://localhost:{port}/hooks/{TOKEN}\n", token=PASSWORD), NOTICE)
    ((path, headers, body),) = seen
    assert path == f"/hooks/{TOKEN}"
    assert headers["Authorization"] == f"Bearer {PASSWORD}"
    assert headers["Content-Type"] == "application/json"
    assert body == {
        "n": 1,
        "subject": NOTICE.subject,
        "level": "warning",
        "text": "\n".join((NOTICE.subject, *NOTICE.lines)),
    }


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_refusal_is_told_without_the_address(authority: Path, hook: Callable[..., Webhook], status: int) -> None:
    with receiver(authority, status=status) as (port, _), pytest.raises(ClawkeepError) as raised:
        webhook.send(hook(f"https://localhost:{port}/{TOKEN}"), NOTICE)
    assert str(raised.value) == f"the receiver answers with status {status}"


def test_what_is_for_one_receiver_goes_to_no_other(authority: Path, hook: Callable[..., Webhook]) -> None:
    with receiver(authority) as (other, stolen):
        traits = {"status": 307, "location": f"https://localhost:{other}/stolen"}
        with receiver(authority, **traits) as (port, _), pytest.raises(ClawkeepError, match="status 307"):
            webhook.send(hook(f"https://localhost:{port}/", token=PASSWORD), NOTICE)
    assert stolen == []


def test_a_receiver_that_nobody_vouches_for_gets_nothing(authority: Path, hook: Callable[..., Webhook]) -> None:
    with receiver(authority) as (port, seen), pytest.raises(ClawkeepError, match="its certificate is not trusted"):
        webhook.send(hook(f"https://localhost:{port}/", trusted=False), NOTICE)
    assert seen == []


@pytest.mark.parametrize(
    "url",
    ["http://localhost/{}", "ftp://localhost/{}", "{}", "https:///{}", "https://[x/{}", "https://localhost:1/a b{}"],
)
def test_an_address_that_is_none_is_not_told(hook: Callable[..., Webhook], url: str) -> None:
    with pytest.raises(ClawkeepError) as raised:
        webhook.send(hook(url.format(TOKEN)), NOTICE)
    assert TOKEN not in str(raised.value)


def test_a_receiver_that_is_gone_is_one_sentence(hook: Callable[..., Webhook]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ClawkeepError, match=r"^the receiver cannot be reached: Connection refused$"):
            webhook.send(hook(f"https://localhost:{taken.getsockname()[1]}/{TOKEN}"), NOTICE)


@pytest.mark.parametrize(
    ("level", "priority"), [(Level.ERROR, b"<27>"), (Level.WARNING, b"<28>"), (Level.INFO, b"<30>")]
)
def test_the_systems_log_has_each_line(tmp_path: Path, level: Level, priority: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(tmp_path / "log"))
        log.settimeout(5)
        syslog.send(Notice.of(level, "subject", ["one", "\u202etwo" * 500]), tmp_path / "log")
        lines = [log.recv(4096) for _ in range(3)]
    assert [line.split(b"clawkeep[")[0] for line in lines] == [priority] * 3
    assert lines[0].endswith(b": subject")
    assert all(len(line) < 1100 for line in lines)


def test_a_log_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ClawkeepError, match="takes no message: No such file"):
        syslog.send(NOTICE, tmp_path / "log")


def test_a_long_story_is_cut_and_says_so() -> None:
    notice = Notice.of(Level.INFO, "x" * 500, [f"line {n}" for n in range(100)])
    assert len(notice.subject) == 160
    assert (len(notice.lines), notice.lines[-1]) == (41, "... and 60 more")
