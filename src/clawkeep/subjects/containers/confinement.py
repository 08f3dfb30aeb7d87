"""What an agent's own uid can do inside its container: the findings of the probe that ran there."""

from __future__ import annotations

import errno
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import mapping, number, sequence, texts
from clawkeep.subjects.containers.containers import Containers

Row = tuple[str, ...]
ENGINE_ANSWERS = ("api-version:", "docker/", "libpod-api-version:", "server: docker")
ENGINE_NAMES = ("buildkit", "containerd", "crio", "docker", "podman")
DENIALS = frozenset((errno.EPERM, errno.EACCES, errno.ENOSYS))
WORKSPACE = "/home/node/.openclaw/workspace"


@dataclass(frozen=True)
class Findings:
    """One container's rows by kind, and the sentence why the probe ended early (empty when it ended as it should)."""

    container: str
    rows: Mapping[str, tuple[Row, ...]]
    trouble: str

    def of(self, kind: str, width: int) -> tuple[Row, ...]:
        """The rows of `kind` without the kind; raises Unmeasured when one has fewer than `width` fields."""
        found = self.rows.get(kind, ())
        for row in found:
            if len(row) < width:
                raise Unmeasured(f"the probe in container {self.container} gave a row {kind} that cannot be read")
        return found

    def whole(self) -> None:
        """Raise Unmeasured unless the probe came to its end."""
        if self.trouble:
            raise Unmeasured(f"the probe in container {self.container} was not completed: {self.trouble}")

    def attempt(self, name: str) -> int:
        """The errno of the attempt `name`, 0 when it succeeded."""
        for row in self.of("try", 2):
            if row[0] == name:
                return _number(row[1], self.container)
        self.whole()
        raise Unmeasured(f"the probe in container {self.container} did not try {name}")


def _number(text: str, container: str) -> int:
    found = number(text)
    if found is None:
        raise Unmeasured(f"the probe in container {container} gave {text!r} where a number was due")
    return found


@dataclass(frozen=True)
class Confinement:
    """The findings in every running agent container, and where canaries lay meanwhile."""

    found: tuple[Findings, ...]
    planted: tuple[str, ...]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From one `docker exec` per agent container; raises Unmeasured without a running one."""
        probes = mapping(host.inside.fact("inside-probe"), "the probes inside")
        canaries = mapping(host.inside.fact("canaries"), "the canaries")
        found = []
        for one in host.subject(Containers).agents:
            raw = mapping(probes.get(one.name), f"the probe in container {one.name}")
            rows: dict[str, tuple[Row, ...]] = {}
            for item in sequence(raw.get("rows"), f"the rows of container {one.name}"):
                kind, *fields = texts(item, "a row") or ("",)
                rows[kind] = (*rows.get(kind, ()), tuple(fields))
            trouble = str(raw.get("error") or ("" if "done" in rows else "its last row is missing"))
            found.append(Findings(one.name, rows, trouble))
        return cls(tuple(found), texts(canaries.get("sensitive"), "the places of canaries"))

    def identities_other_than(self, uid: int) -> list[str]:
        """Containers in which `docker exec` as the agent is not `uid` with its group alone."""
        sentences = []
        for one in self.found:
            rows = one.of("identity", 4)
            if not rows:
                one.whole()
                raise Unmeasured(f"the probe in container {one.container} did not say who it is")
            numbers = {word for field in rows[0] for word in field.split()}
            if numbers != {str(uid)}:
                shown = ", ".join(sorted(numbers))
                sentences.append(f"a program in container {one.container} runs with the ids {shown}, not {uid} alone")
        return sentences

    def _writable(self, one: Findings) -> list[str]:
        if not one.rows.get("walk"):
            one.whole()
            raise Unmeasured(f"the probe in container {one.container} saw no directory: its image has no find")
        return [row[0] for row in one.of("writable", 1)]

    def writable_beyond(self, allowed: Collection[str]) -> list[str]:
        """Directories outside of `allowed` in which the agent can create a file."""
        sentences = []
        for one in self.found:
            beyond = [path for path in self._writable(one) if path not in allowed]
            sentences += [f"the agent can write to {path} in container {one.container}" for path in beyond]
            if not beyond:
                one.whole()
        return sentences

    def not_writable(self, wanted: Collection[str]) -> list[str]:
        """Directories of `wanted` in which the agent cannot create a file: the control experiment of the above."""
        sentences = []
        for one in self.found:
            able = self._writable(one)
            one.whole()
            missing = sorted(set(wanted) - set(able))
            sentences += [f"the agent cannot write to {path} in container {one.container}" for path in missing]
        return sentences

    def executing_from_scratch(self) -> list[str]:
        """Scratch space from which the agent can run a program it has written."""
        sentences = []
        for one in self.found:
            tried = one.of("execute", 3)
            for path, error, readable in (row[:3] for row in tried):
                if error == "0":
                    sentences.append(f"the agent can execute a program of its own from {path} in {one.container}")
                elif readable != "0":
                    raise Unmeasured(f"a script in {path} of container {one.container} could not even be read")
            if not tried:
                one.whole()
                raise Unmeasured(f"the probe in container {one.container} found no scratch space to execute from")
        return sentences

    def allowed(self, attempts: Collection[str], control: str) -> list[str]:
        """Those of `attempts` that the kernel does not refuse; `control` is the one that must succeed."""
        sentences = []
        for one in self.found:
            if (error := one.attempt(control)) != 0:
                name = errno.errorcode.get(error, str(error))
                raise Unmeasured(
                    f"in container {one.container} even {control} fails ({name}), so a refusal says nothing"
                )
            for name in attempts:
                error = one.attempt(name)
                if error not in DENIALS:
                    got = "succeeds" if error == 0 else f"gets as far as {errno.errorcode.get(error, str(error))}"
                    sentences.append(f"{name} {got} in container {one.container}")
        return sentences

    def engines_answering(self) -> list[str]:
        """Container engines that the agent can talk to, by unix socket or at its gateway; control: ordinary TCP."""
        sentences: list[str] = []
        for one in self.found:
            before = len(sentences)
            for path, error, answer in (row[:3] for row in one.of("socket", 3)):
                name = path.rpartition("/")[2].lower()
                known = any(word in name for word in ENGINE_NAMES) or any(w in answer.lower() for w in ENGINE_ANSWERS)
                if error == "0" and known:
                    sentences.append(f"a container engine answers the agent on {path} in container {one.container}")
            for address, port, error in (row[:3] for row in one.of("engine-port", 3)):
                if error == "0":
                    sentences.append(f"the agent in container {one.container} can connect to {address} port {port}")
            if len(sentences) == before:
                one.whole()
                if one.attempt("tcp") != 0:
                    raise Unmeasured(f"in container {one.container} even ordinary TCP fails, so silence says nothing")
        return sentences

    def canaries_seen(self) -> list[str]:
        """Canaries of the host's sensitive directories that are seen inside; control: the one in the workspace is."""
        sentences = []
        for one in self.found:
            places = [row[0] for row in one.of("canary", 2)]
            foreign = [place for place in places if not place.startswith(WORKSPACE.rpartition("/")[0])]
            sentences += [f"a file of the host is seen in {place} of container {one.container}" for place in foreign]
            if not foreign:
                one.whole()
                if not any(row[0] == WORKSPACE and row[1] == "0" for row in one.of("canary", 2)):
                    raise Unmeasured(f"in container {one.container} not even the workspace's own canary was seen")
        if not sentences and not self.planted:
            raise Unmeasured("no canary could be laid into any sensitive directory of the host")
        return sentences

    def unreadable(self, path: str) -> list[str]:
        """Containers in which the agent cannot read `path`, which it needs."""
        sentences = []
        for one in self.found:
            rows = [row for row in one.of("readable", 2) if row[0] == path]
            if not rows:
                one.whole()
                raise Unmeasured(f"the agent in container {one.container} was not told of {path}")
            sentences += [f"the agent in container {one.container} cannot read {path}" for row in rows if row[1] != "0"]
        return sentences
