"""A collection whose hosts are asked one by one, each in a process of its own, and become one bundle in the end.

This is how playbooks/collect.yml collects: Ansible connects, and each of its workers keeps one host's evidence. The
evidence is the same that `observe` gives with the inside alone. Until the end all lies in a working folder beside the
bundle, for its owner alone; the bundle then appears in one step.

    .NAME.collecting/collector    what is sent to every host
                     plan.json    what the manifest says of the run, and of every host as long as nothing is known of it
                     plan/ID      one host: what its collector is told, and what the controller knows of it
                     ended/ID     why a host gave no evidence, or nothing where it did
                     bundle/      the bundle in the making
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clawkeep.base import atomic, clock
from clawkeep.base.errors import ClawkeepError
from clawkeep.evidence import store
from clawkeep.evidence.bundle import files, signature
from clawkeep.evidence.bundle.files import HOSTS
from clawkeep.measure import observe, transport
from clawkeep.measure.controller import Ask, Controller, dated
from clawkeep.measure.conversation import READY, End
from clawkeep.site.inventory import Inventory

LIMIT = transport.HOST_LIMIT  # seconds that the collector may run on a host
UNTOLD = "the collection ended without a word of it: its worker was killed; look at the controller's memory and log"


@dataclass(frozen=True)
class Ended:
    """A collection that ended: its bundle, how many hosts it has, and why each that gave no evidence gave none."""

    saved: store.Saved
    hosts: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Gathering:
    """The collection that becomes the bundle `folder`."""

    folder: Path

    @property
    def work(self) -> Path:
        """The working folder."""
        return self.folder.parent / f".{self.folder.name}.collecting"

    def begin(self, inventory: Inventory, ask: Ask, *, limited: bool, sign_key: Path | None = None) -> None:
        """Plan the collection of the inventory's hosts; `ask` asks its control node.

        Raises ClawkeepError when the folder holds something, the key cannot sign, or a collection is on its way there.
        """
        store.vacant(self.folder)
        if sign_key is not None:
            signature.ready(sign_key)
        if files.present(self.work):
            raise ClawkeepError(
                f"{self.work} is of a collection that is on its way or was stopped: remove it when none runs any more"
            )
        started = clock.now()
        controller = Controller.look(inventory, ask)
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            for folder in (".", "plan", "ended", "bundle", f"bundle/{HOSTS}"):
                (self.work / folder).mkdir(mode=0o700)
            files.write(self.work / "collector", transport.collector())
            taken: set[str] = set()
            hosts = []
            for host in inventory.hosts:
                entry, file = store.entry(host, UNTOLD), store.file_name(host.name, taken)
                told = observe.parameters(host, inventory.site, turns=False)
                plan = {"file": file, "parameters": told, "known": controller.known(host)}
                files.write(self.work / "plan" / _id(host.name), json.dumps(plan, default=str).encode())
                hosts.append({"file": file, "entry": entry})
            head = store.heading(inventory.site, started, limited=limited)
            files.write(self.work / "plan.json", json.dumps({"head": head, "hosts": hosts}).encode())
        except OSError as problem:
            raise self._failed(problem) from None

    def order(self, name: str) -> bytes:
        """What COLLECT is to read on the host; raises ClawkeepError when the host is not of this collection."""
        return transport.order(self._plan(name)["parameters"], self._read("collector"))

    def keep(self, name: str, end: End, began: str, *, by_ssh: bool) -> str:
        """Keep what a host answered to COLLECT; the sentence why it is no evidence, empty when it is."""
        plan = self._plan(name)
        try:
            inside = transport.document(name, end, LIMIT, by_ssh=by_ssh)
            raw = observe.whole(name, inside, dated(plan["known"], began, clock.now()))
            data = store.encoded(name, raw)
        except ClawkeepError as problem:
            why = str(problem)
            self._write(Path("ended") / _id(name), why.encode("utf-8", "backslashreplace"))
            return why
        self._write(Path("bundle", HOSTS, plan["file"]), data)
        self._write(Path("ended") / _id(name), b"")
        return ""

    def finish(self, sign_key: Path | None = None) -> Ended:
        """Make the bundle of what was kept, and put it in its place; raises ClawkeepError when that cannot be done."""
        plan = json.loads(self._read("plan.json"))
        missing: list[str] = []
        entries = list(self._entries(plan["hosts"], missing))
        bundle = self.work / "bundle"
        key, problem = None, ""
        try:
            key = signature.ready(sign_key) if sign_key is not None else None
        except ClawkeepError as refused:  # what was measured is kept all the same
            problem = str(refused)
        try:
            saved = store.conclude(bundle, plan["head"], entries, key)
            bundle.rename(self.folder)
        except OSError as failed:
            raise self._failed(failed) from None
        shutil.rmtree(self.work, ignore_errors=True)
        return Ended(store.Saved(saved.digest, saved.signed_by, saved.problem or problem), len(entries), tuple(missing))

    def _entries(self, hosts: list[dict[str, Any]], missing: list[str]) -> Iterator[dict[str, Any]]:
        for host in hosts:
            entry = host["entry"]
            told = self.work / "ended" / _id(entry["name"])
            why = told.read_bytes().decode() if told.exists() else entry["message"]
            if why:
                missing.append(why if told.exists() else f"{entry['name']}: {why}")
                yield {**entry, "message": why}
            else:
                data = self._read(f"bundle/{HOSTS}/{host['file']}")
                yield store.reached({**entry, "message": ""}, host["file"], data)

    def _plan(self, name: str) -> dict[str, Any]:
        return json.loads(self._read(f"plan/{_id(name)}"))  # type: ignore[no-any-return]

    def _read(self, path: str) -> bytes:
        try:
            return (self.work / path).read_bytes()
        except OSError as problem:
            raise ClawkeepError(f"the collection into {self.folder} has no {path}: {problem.strerror}") from None

    def _write(self, path: Path, data: bytes) -> None:
        try:
            atomic.write(self.work / path, data)
        except OSError as problem:
            raise self._failed(problem) from None

    def _failed(self, problem: OSError) -> ClawkeepError:
        return ClawkeepError(f"the evidence cannot be saved to {self.folder}: {problem.strerror}")


def gathering(folder: Path) -> Gathering:
    """The collection into `folder`, wherever the process that goes on with it stands."""
    return Gathering(folder.absolute())


def answered(end_status: int, printed: bytes, complained: str) -> End:
    """What a command gave that somebody else ran: what it printed after READY, if it came so far."""
    before, ready, after = printed.partition(READY)
    if len(printed) > transport.OUTPUT_CAP:
        return End(None, b"", complained, ready=True, overflow=True)
    return End(end_status, after if ready else before, complained, ready=bool(ready))


def ask(host: str, end: End, *, by_ssh: bool) -> str:
    """What a command printed that was asked of a host; raises TransportError when it came to nothing."""
    return transport.answer(host, end, transport.ASK_LIMIT, by_ssh=by_ssh).decode("utf-8", "replace")


def _id(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
