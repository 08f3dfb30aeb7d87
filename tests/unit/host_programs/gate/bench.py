"""A gate with one user in a temporary folder, and a browser's way to it."""

from __future__ import annotations

import re
import urllib.parse
from pathlib import Path

from clawkeep_host.gate import passwords
from clawkeep_host.gate.pages import Answer, Gate, Request
from clawkeep_host.gate.store import Settings, Store

SETTINGS = Settings(
    "https://agent.example",
    idle=1800,
    absolute=28800,
    attempts=5,
    window=60,
    lockout=300,
    peer_networks=("10.78.0.0/24", "fd5e:c1a0:78::/64"),
)
GOOD = "violet tractor hums 47 lullabies"
OWN = {"origin": SETTINGS.origin, "content-type": "application/x-www-form-urlencoded"}
ONE, OTHER = "10.78.0.60", "10.78.0.61"


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """The gate, its store and their clock; the user is anna."""

    def __init__(self, path: Path, settings: Settings = SETTINGS) -> None:
        self.clock = Clock()
        self.path = path
        self.store = Store(path, settings, self.clock)
        self.gate = Gate(settings, self.store, self.clock)
        self.store.set_password("anna", passwords.hashed(GOOD), new=True)

    def ask(self, method: str, path: str, *, client: str = ONE, body: bytes = b"", **headers: str) -> Answer:
        """The answer to a request; header names are written with `_` for `-`."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gate.answer(Request(method, path, given, client, body))

    def form(self) -> tuple[str, str]:
        """The form's cookie and token."""
        page = self.ask("GET", "/login")
        return values(page, "Set-Cookie")[0].partition(";")[0], csrf_of(page)

    def login(
        self, user: str = "anna", password: str = GOOD, *, client: str = ONE, more: str = "", **headers: str
    ) -> Answer:
        """The answer to a login as a browser makes it; `more` goes into its cookies."""
        cookie, token = self.form()
        fields = urllib.parse.urlencode({"csrf": token, "user": user, "password": password}).encode()
        return self.gate.answer(Request("POST", "/login", {**OWN, "cookie": cookie + more, **headers}, client, fields))

    def session(self) -> str:
        """The cookie of a fresh session."""
        return values(self.login(), "Set-Cookie")[0].partition(";")[0]

    def auth(self, cookie: str, method: str = "GET", **headers: str) -> int:
        """The status by which nginx learns whether a request may pass."""
        return self.ask("GET", "/auth", body=b"", cookie=cookie, x_gate_method=method, **headers).status


def values(answer: Answer, name: str) -> list[str]:
    """Every value of a header, in order."""
    return [value for key, value in answer.headers if key == name]


def csrf_of(answer: Answer) -> str:
    """The token of a page's first form."""
    found = re.search(r'name="csrf" value="([^"]+)"', answer.body)
    assert found
    return found.group(1)
