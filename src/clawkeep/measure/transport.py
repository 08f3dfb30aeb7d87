"""The way to a host: one bounded command over the connection that the inventory describes.

testinfra resolves the connection (`ansible://`: address, user, port, key, ssh arguments, become); we run the command
ourselves, because its own `run` has no time limit, no limit of output and no standard input. The collector goes over
as a zip on standard input and runs from memory: nothing is left on the host.
"""

from __future__ import annotations

import ast
import configparser
import functools
import io
import json
import os
import re
import shlex
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testinfra.backend.local import LocalBackend
from testinfra.backend.ssh import SshBackend
from testinfra.utils.ansible_runner import AnsibleRunner

from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence.document import SCHEMA
from clawkeep.measure.conversation import READY, End, converse
from clawkeep.site.inventory import Inventory

OUTPUT_CAP = 32 * 1024 * 1024  # bytes; the document of a busy host is some hundred kilobytes
# Seconds that the collector may run on the host. Under software emulation one takes 20 to 60 s, and minutes where the
# agents' turns are the first that their gateway takes.
HOST_LIMIT = 480
ASK_LIMIT = 60  # seconds for one further command
SSH_OPTIONS = "CLAWKEEP_SSH_OPTIONS"  # environment variable: ssh options that win over the inventory's
SOURCES = Path(__file__).parents[2]
HOST_PACKAGE = "clawkeep_host"
CONNECT_LIMIT = 30  # seconds more for connection, authentication and start

# Runs on the host. It announces itself before anything is sent (a shell's greeting comes earlier and is dropped, and a
# refused sudo password is not followed by two more), then takes the zip into memory and runs the package in it.
BOOTSTRAP = f"""\
import os, runpy, sys, tempfile
sys.stdout.write({READY.decode()!r}); sys.stdout.flush()
source = sys.stdin.buffer
head = source.readline()
while head and not head.startswith(b"clawkeep-zip "):
    head = source.readline()
data = source.read(int(head.split()[1]))
try:
    file = os.memfd_create("clawkeep")
except (AttributeError, OSError):
    kept = tempfile.TemporaryFile()
    file = kept.fileno()
while data:
    data = data[os.write(file, data):]
sys.path.insert(0, "/proc/self/fd/%d" % file)
runpy.run_module("clawkeep.collector", run_name="__main__", alter_sys=True)
"""


class TransportError(ClawkeepError):
    """A host could not be asked; the sentence says why and what to do."""


@dataclass(frozen=True)
class Connection:
    """How one host is reached. `login` is the argv before the remote command, empty for this machine itself."""

    host: str
    login: tuple[str, ...]
    become: bool
    become_user: str | None = None
    become_password: str | None = field(default=None, repr=False)
    ssh_password: str | None = field(default=None, repr=False)

    def command(self, argv: Sequence[str]) -> list[str]:
        """The local argv that runs `argv` on the host, as root where the inventory says so; holds no password."""
        words = list(argv)
        if self.become:
            user = ["-u", self.become_user] if self.become_user else []
            ask = ["-k", "-S", "-p", ""] if self.become_password is not None else ["-n"]
            words = ["sudo", *ask, *user, "--", *words]
        return [*self.login, shlex.join(words)] if self.login else words

    def collect(self, parameters: Mapping[str, Any], *, limit: float = HOST_LIMIT) -> dict[str, Any]:
        """The inside document of the host, from one connection; raises TransportError with a sentence."""
        end = self._converse(COLLECT, order(parameters), limit)
        return document(self.host, end, limit, by_ssh=bool(self.login))

    def ask(self, argv: Sequence[str], *, limit: float = ASK_LIMIT) -> str:
        """What one command prints on the host; raises TransportError when it does not end with status 0 in time."""
        end = self._converse(announced(argv), b"", limit)
        return answer(self.host, end, limit, by_ssh=bool(self.login)).decode("utf-8", "replace")

    def _converse(self, argv: Sequence[str], payload: bytes, limit: float) -> End:
        command = self.command(bounded(argv, limit))
        first = (self.become_password + "\n").encode() if self.become and self.become_password is not None else b""
        environment = dict(os.environ, LC_ALL="C")  # the messages that we recognise are English
        if self.ssh_password is not None:
            environment["SSHPASS"] = self.ssh_password
        try:
            return converse(
                command, first, payload, limit=limit + CONNECT_LIMIT, cap=OUTPUT_CAP, environment=environment
            )
        except OSError as problem:
            raise TransportError(f"{self.host}: {problem.filename} cannot be run here: {problem.strerror}") from None


COLLECT = ("python3", "-IB", "-c", BOOTSTRAP)  # the command that collects; its standard input is an `order`


def order(parameters: Mapping[str, Any], package: bytes | None = None) -> bytes:
    """What COLLECT reads on the host: the collector (`package`, where it was packed before), and what it is told."""
    package = package if package is not None else collector()
    return b"clawkeep-zip %d\n" % len(package) + package + json.dumps(parameters, default=str).encode()


def announced(argv: Sequence[str]) -> list[str]:
    """The command that says READY and then becomes `argv`, with nothing to read."""
    return ["sh", "-c", f"printf {shlex.quote(READY.decode())}; exec {shlex.join(argv)} </dev/null"]


def bounded(argv: Sequence[str], limit: float) -> list[str]:
    """The command that runs `argv` and ends it after `limit` seconds."""
    return ["timeout", "-k", "5", f"{limit:g}", *argv]


def answer(host: str, end: End, limit: float, *, by_ssh: bool) -> bytes:
    """What a `bounded` command printed after READY; raises TransportError when it came to nothing."""
    why = _trouble(end, limit, by_ssh=by_ssh)
    if why:
        raise TransportError(f"{host} {why}")
    return end.stdout


def document(host: str, end: End, limit: float, *, by_ssh: bool) -> dict[str, Any]:
    """The document that COLLECT printed; raises TransportError when it is none, or not one that root collected."""
    try:
        found = json.loads(answer(host, end, limit, by_ssh=by_ssh))
    except (ValueError, RecursionError) as problem:
        raise TransportError(f"{host} answered with something that is not JSON: {problem}") from None
    schema = found.get("schema") if isinstance(found, dict) else None
    if schema != SCHEMA:
        raise TransportError(f"{host} answered with schema {schema!r}, this Clawkeep reads schema {SCHEMA}")
    identity = found.get("identity")
    uid = identity.get("uid") if isinstance(identity, dict) else None
    if uid != 0:
        raise TransportError(f"{host} was read as uid {uid}, not as root: set `ansible_become: true` for it")
    return found  # type: ignore[no-any-return]


def _trouble(end: End, limit: float, *, by_ssh: bool) -> str:
    """Why the conversation came to nothing, as a sentence after the host's name; empty when it did not."""
    said = end.stderr.strip().splitlines()
    last = said[-1].strip() if said else "it said nothing"
    if end.overflow:
        return f"sent more than {OUTPUT_CAP // 1024 // 1024} MB: look for what fills its evidence"
    if end.timeout:
        return f"did not answer within {limit + CONNECT_LIMIT:g} s: check its load and the network between"
    if not end.ready:
        for pattern, sentence in _REFUSALS:
            if re.search(pattern, end.stderr, re.I):
                return sentence.format(last=last)
        if end.status == 255 and by_ssh:
            return f"is unreachable by ssh: {last}"
        return f"did not begin (status {end.status}): {last}"
    if end.status in {124, 137}:
        return f"did not finish within {limit:g} s: check its load"
    if end.status == 255 and by_ssh:
        return f"lost the ssh connection on the way: {last}"
    if end.status:
        return f"broke off with status {end.status}: {last}"
    return ""


_REFUSALS = (
    (
        "remote host identification has changed",
        "has another ssh host key than the one known: find out why on its console before you replace the known one",
    ),
    ("host key verification failed", "has an ssh host key that is not known here: check it and add it to known_hosts"),
    (r"permission denied \(|too many authentication failures", "refuses our ssh login: {last}"),
    (
        r"incorrect (\w+ )?password|try again|no password was provided",
        "refuses the sudo password: correct ansible_become_password",
    ),
    (
        r"a password is required|terminal is required|missing \w+ password",
        "wants a sudo password: set ansible_become_password, or allow this account sudo without one",
    ),
    ("not in the sudoers|not allowed to (execute|run)", "does not let this account use sudo: {last}"),
    (
        r"python3: (command )?not found|command .?python3.?: no such file",
        "has no python3: install it, the collector needs 3.9 or later",
    ),
    (r"(sudo|timeout): (command )?not found", "lacks a command that the collection needs: {last}"),
)


def collector() -> bytes:
    """The collector as a zip, with what it shares with the host programs: the same bytes for the same sources."""
    return _packed(SOURCES)


@functools.cache
def _packed(sources: Path) -> bytes:
    """Packed once a run: a fleet's hosts all get the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in _travelling():
            name = path.relative_to(sources).as_posix()
            archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _travelling() -> list[Path]:
    """The collector's modules, and those of the host programs that they import, at first or at second hand."""
    package = SOURCES / "clawkeep"
    found = {package / "__init__.py", *(package / "collector").rglob("*.py")}
    left = list(found)
    while left:
        shared = _shared(left.pop()) - found
        found |= shared
        left += shared
    return sorted(found)


def _shared(path: Path) -> set[Path]:
    """The modules of clawkeep_host that a module imports, with the packages that they are in."""
    tree = ast.parse(path.read_bytes())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    parts = [name.split(".") for name in names if name.split(".")[0] == HOST_PACKAGE]
    stems = {SOURCES.joinpath(*part[:length]) for part in parts for length in range(1, len(part) + 1)}
    return {path for stem in stems for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()}


def connections(inventory: Inventory, config: Path) -> dict[str, Connection]:
    """How each host of the inventory and its control node are reached; `config` is the ansible.cfg that applies.

    testinfra's runner is given the listing that was already made, so that no second `ansible-inventory` runs.
    """
    runner = AnsibleRunner(str(inventory.source))
    runner.inventory = _literal(inventory)
    runner.ansible_config = configparser.ConfigParser(interpolation=None)
    runner.ansible_config.read(os.environ.get("ANSIBLE_CONFIG", config))
    return {name: _connection(runner, name, runner.inventory) for name in _names(inventory)}


def _names(inventory: Inventory) -> list[str]:
    node = inventory.control_node
    return [*(host.name for host in inventory.hosts), *([node.name] if node is not None else [])]


def _connection(runner: AnsibleRunner, name: str, listing: Mapping[str, Any]) -> Connection:
    variables = listing["_meta"]["hostvars"].get(name, {})
    method = variables.get("ansible_become_method", "sudo")
    if method not in {"sudo", "ansible.builtin.sudo"}:
        raise ClawkeepError(f"the host {name} becomes root by {method}: Clawkeep knows sudo alone")
    found = runner.get_host(name)
    backend = found.backend if found is not None else None
    if isinstance(backend, LocalBackend):
        login: tuple[str, ...] = ()
        ssh_password = None
    elif isinstance(backend, SshBackend):
        ssh_password = _first(variables, "ansible_password", "ansible_ssh_password", "ansible_ssh_pass")
        login = _login(backend, by_password=ssh_password is not None)
    else:
        kind = variables.get("ansible_connection")
        raise ClawkeepError(f"the host {name} has ansible_connection: {kind}; Clawkeep reaches hosts by ssh or local")
    return Connection(
        host=name,
        login=login,
        become=bool(backend.sudo),
        become_user=backend.sudo_user,
        become_password=_first(variables, "ansible_become_password", "ansible_become_pass"),
        ssh_password=ssh_password,
    )


def _first(variables: Mapping[str, Any], *names: str) -> str | None:
    return next((str(variables[name]) for name in names if variables.get(name) is not None), None)


def _login(backend: SshBackend, *, by_password: bool) -> tuple[str, ...]:
    """testinfra's ssh command line up to the host, without its multiplexing and without a password in it."""
    backend.controlpersist = 0
    backend.host.password = None
    words, values = backend._build_ssh_command("command")
    argv = shlex.split(backend.quote(" ".join(words), *values))[1:-1]
    # The first value of an option wins: what is ours comes first, and before it what this machine insists on.
    own = [*shlex.split(os.environ.get(SSH_OPTIONS, ""))]
    own += ["-o", "ControlMaster=no", "-o", "ControlPath=none", "-o", "ServerAliveInterval=15"]
    if by_password:
        return ("sshpass", "-e", "ssh", "-T", *own, *argv)
    return ("ssh", "-T", *own, "-o", "BatchMode=yes", *argv)


_REFERENCE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def _literal(inventory: Inventory) -> dict[str, Any]:
    """The listing with connection settings as values: `{{ name }}` is looked up (the vault idiom), more is refused."""
    listing = json.loads(json.dumps(inventory.listing))
    every = listing.setdefault("_meta", {}).setdefault("hostvars", {})
    for name in _names(inventory):
        variables = every.setdefault(name, {})
        for key, value in variables.items():
            if key.startswith("ansible_") and isinstance(value, str) and "{{" in value:
                reference = _REFERENCE.fullmatch(value.strip())
                known = variables.get(reference.group(1)) if reference else None
                if known is None or "{{" in str(known):
                    raise ClawkeepError(f"{key} of the host {name} is the template {value!r}: write its value")
                variables[key] = known
        if isinstance(variables.get("ansible_become"), str):  # INI inventories know no booleans but Python's
            variables["ansible_become"] = variables["ansible_become"].lower() in {"true", "yes", "on", "1"}
    return listing  # type: ignore[no-any-return]
