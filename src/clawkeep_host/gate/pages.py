"""What the gate answers: who is behind a request, the login with its form, and the page of one's own session."""

from __future__ import annotations

import hmac
import html
import json
import re
import secrets
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from clawkeep_host.gate.passwords import DUMMY, LIMIT, matches
from clawkeep_host.gate.store import TOKEN, Session, Settings, Store

SESSION_COOKIE = "__Host-clawkeep"
FORM_COOKIE = "__Host-clawkeep-form"
COOKIE = "Path=/; Secure; HttpOnly; SameSite=Strict"
GONE = f"{COOKIE}; Max-Age=0"

USER = re.compile(r"[a-z][a-z0-9_-]{0,31}")
FORM_SECONDS = 3600
HASHES_AT_ONCE = 2  # each takes 32 MB
LOGINS_AT_ONCE = 8  # that hash or wait for it; further ones are sent away, so that requests with a session get through

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:22rem;margin:12vh auto;padding:0 1rem}}label{{display:block;margin:1rem 0}}
input{{display:block;width:100%;box-sizing:border-box;font:inherit;padding:.5rem}}button{{font:inherit;padding:.5rem 1rem}}
[role=alert]{{border-left:4px solid #b00020;padding-left:.75rem}}</style></head>
<body><main><h1>{title}</h1>{body}</main></body></html>
"""  # noqa: E501 - HTML
POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
ALIKE = "Name or password is wrong, or this account is locked."
FOREIGN = "<p>This form was sent from another site.</p>"


@dataclass(frozen=True)
class Request:
    """One request as nginx hands it over: header names in lower case, `client` as `store.network_of` spells it."""

    method: str
    path: str
    headers: Mapping[str, str]
    client: str
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """Status, headers in order, and an HTML text."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


class Gate:
    """The decisions; `store` remembers and `settings` limits. No answer tells whether a name exists."""

    def __init__(self, settings: Settings, store: Store, clock: Callable[[], float] = time.time) -> None:
        """Begin with a form key of this process's own: forms do not outlive a restart, sessions do."""
        self.settings = settings
        self.store = store
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._logins = threading.BoundedSemaphore(LOGINS_AT_ONCE)
        self._hashing = threading.BoundedSemaphore(HASHES_AT_ONCE)

    def answer(self, request: Request) -> Answer:
        """The answer to one request of nginx."""
        routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/auth"): self._auth,
            ("GET", "/login"): self._form,
            ("HEAD", "/login"): self._form,
            ("POST", "/login"): self._login,
            ("GET", "/gate/session"): self._page,
            ("POST", "/gate/logout"): self._logout,
            ("POST", "/gate/revoke"): self._logout,
        }
        route = routes.get((request.method, request.path))
        if route:
            return route(request)
        exists = any(path == request.path for _, path in routes)
        return _say(405 if exists else 404, "Not here", "<p>There is nothing here.</p>")

    # what nginx asks about every request

    def _auth(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return Answer(401)
        method = request.headers.get("x-gate-method", "")
        upgrade = request.headers.get("x-gate-upgrade", "")
        if (method not in ("GET", "HEAD") or upgrade) and not self._same_origin(request):
            return Answer(403)
        return Answer(204, (("X-Gate-User", session.user),))

    def _same_origin(self, request: Request) -> bool:
        """Whether a request comes from the entry's own pages: the exact Origin, and no other word of the browser's."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        return request.headers.get("origin") == self.settings.origin and site == "same-origin"

    def _session(self, request: Request) -> Session | None:
        return self.store.session(_cookie(request, SESSION_COOKIE))

    # the login

    def _form_token(self, nonce: str, at: int) -> str:
        return f"{at}.{hmac.new(self._key, f'{nonce} {at}'.encode(), 'sha256').hexdigest()}"

    def _form(self, request: Request, status: int = 200, trouble: str = "", *headers: tuple[str, str]) -> Answer:
        nonce = _cookie(request, FORM_COOKIE) or secrets.token_urlsafe(32)
        token = self._form_token(nonce, int(self._clock()))
        alert = f'<p role="alert">{trouble}</p>' if trouble else ""
        body = (
            f'{alert}<form method="post" action="/login" autocomplete="on">'
            f'<input type="hidden" name="csrf" value="{token}">'
            '<label>Name<input name="user" autocomplete="username" autocapitalize="none" required autofocus></label>'
            '<label>Password<input name="password" type="password" autocomplete="current-password" required></label>'
            "<button>Log in</button></form>"
        )
        return _say(status, "Log in", body, ("Set-Cookie", f"{FORM_COOKIE}={nonce}; {COOKIE}"), *headers)

    def _fresh(self, request: Request, token: str) -> bool:
        """Whether the token is of a form that this gate gave to this browser within the hour."""
        nonce = _cookie(request, FORM_COOKIE)
        written, _, _ = token.partition(".")
        if not nonce or not re.fullmatch(r"[0-9]{1,12}", written):
            return False
        young = 0 <= self._clock() - int(written) < FORM_SECONDS
        return young and _equal(self._form_token(nonce, int(written)), token)

    def _login(self, request: Request) -> Answer:
        if not self._same_origin(request):
            return _say(403, "Refused", FOREIGN)
        fields = _fields(request)
        if fields is None:
            return _say(400, "Refused", "<p>That is not the form of this page.</p>")
        if not self._fresh(request, fields.get("csrf", "")):
            return self._form(request, 403, "The form is too old. Please try again.")
        user, password = fields.get("user", ""), fields.get("password", "")
        named = user if USER.fullmatch(user) else ""
        wait = self.store.reserve(named, request.client)
        if wait > 0:
            return self._form(request, 429, "Too many attempts. Please wait.", ("Retry-After", str(int(wait) + 1)))
        if not self._logins.acquire(blocking=False):
            self.store.withdraw(named, request.client)
            return self._form(request, 503, "Too many people log in just now. Please try again.", ("Retry-After", "1"))
        try:
            token = self._token(named, password, request.client)
        finally:
            self._logins.release()
        if token is None:
            print(f"login refused for {json.dumps(named)} from {request.client}", flush=True)
            return self._form(request, 401, ALIKE)
        self.store.close(_cookie(request, SESSION_COOKIE))
        print(f"login of {named} from {request.client}", flush=True)
        # No lifetime: the browser forgets it when it closes, the server when it decides to.
        return _go("/", f"{SESSION_COOKIE}={token}; {COOKIE}", f"{FORM_COOKIE}=; {GONE}")

    def _token(self, user: str, password: str, client: str) -> str | None:
        """A session's token for the right password; the work is the same for every name and password."""
        stored = self.store.stored_hash(user)
        with self._hashing:
            right = matches(password[:LIMIT], stored or DUMMY)
        if stored is None or not right or len(password) > LIMIT:
            return None
        return self.store.admit(user, stored, client)

    # one's own session

    def _page(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return _go("/login")
        minutes = int((session.ends - self._clock()) // 60)
        buttons = "".join(
            f'<form method="post" action="{path}"><input type="hidden" name="csrf" value="{session.csrf}">'
            f"<p><button>{label}</button></p></form>"
            for path, label in (("/gate/logout", "Log out"), ("/gate/revoke", "Log out everywhere"))
        )
        body = f"<p>{html.escape(session.user)}, for {minutes} more minutes at most.</p>{buttons}"
        return _say(200, "Your session", body)

    def _logout(self, request: Request) -> Answer:
        session = self._session(request)
        if session is None:
            return _go("/login", f"{SESSION_COOKIE}=; {GONE}")
        fields = _fields(request) or {}
        if not self._same_origin(request) or not _equal(session.csrf, fields.get("csrf", "")):
            return _say(403, "Refused", FOREIGN)
        if request.path == "/gate/revoke":
            self.store.revoke(session.user)
        else:
            self.store.close(_cookie(request, SESSION_COOKIE))
        print(f"logout of {session.user}", flush=True)
        return _go("/login", f"{SESSION_COOKIE}=; {GONE}")


def _cookie(request: Request, name: str) -> str:
    """The token in a cookie; empty when it is not there exactly once, or is no token."""
    pairs = [part.strip().partition("=") for part in request.headers.get("cookie", "").split(";")]
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 and TOKEN.fullmatch(found[0]) else ""


def _fields(request: Request) -> dict[str, str] | None:
    """The fields of a posted form; None when it is not one, or one of them is there twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        return None
    try:
        pairs = urllib.parse.parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict"
        )
    except ValueError:
        return None
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else None


def _equal(expected: str, given: str) -> bool:
    """Whether the two are the same, found out in a time that does not tell where they differ."""
    return hmac.compare_digest(expected.encode(), given.encode())


def _say(status: int, title: str, body: str, *headers: tuple[str, str]) -> Answer:
    # What the browser is told about framing, types and referrers, nginx adds to every answer.
    fixed = (("Content-Security-Policy", POLICY), ("Cache-Control", "no-store"))
    return Answer(status, (*fixed, *headers), PAGE.format(title=title, body=body))


def _go(where: str, *cookies: str) -> Answer:
    kept = tuple(("Set-Cookie", cookie) for cookie in cookies)
    return Answer(303, (("Location", where), ("Cache-Control", "no-store"), *kept))
