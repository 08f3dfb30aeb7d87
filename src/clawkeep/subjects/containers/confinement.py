"""What an agent's own uid can do inside its container: the findings of the probe that ran there."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import mapping, number, sequence, texts
from clawkeep.subjects.containers.containers import Containers

Row = tuple[str, ...]
ENGINE_ANSWERS = ("api-version:", "docker/", "libpod-api-version:", "server: docker")
ENGINE_NAMES = ("buildkit", "containerd", "crio", "docker", "podman")
DENIALS = frozenset((errno.EPERM, errno.EACCES, errno.ENOSYS))
# Other errors say that something was not tried to its end: the agent can fill a disk, or take all descriptors.
CLOSED = frozenset((errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ELOOP))
NOBODY_THERE = CLOSED | {
    *(errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN),
    *(errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EINVAL, errno.EPIPE, errno.EPROTOTYPE, errno.ENOTSOCK),
}
# The kinds of rows, and how many of its fields say what a row is about: of that there is one row alone.
KINDS = {
    **{"identity": 0, "walk": 0, "canary": 1, "writable": 1, "refused": 1, "execute": 1},
    **{"try": 1, "socket": 1, "engine-port": 2, "readable": 1, "done": 0},
}
WORKSPACE = "/home/node/.openclaw/workspace"


@dataclass(frozen=True)
class Findings:
    """One container's rows by kind, and the sentence why the probe ended early (empty when it ended as it should).

    `tampering` is what the collector saw of somebody who interfered with the probe.
    """

    container: str
    rows: Mapping[str, tuple[Row, ...]]
    trouble: str
    tampering: tuple[str, ...] = ()

    @classmethod
    def parse(cls, container: str, value: object) -> Self:
        """The findings as the collector recorded them."""
        raw = mapping(value, f"the probe in container {container}")
        rows: dict[str, tuple[Row, ...]] = {}
        tampering = list(texts(raw.get("tampering") or [], f"the tampering in container {container}"))
        for item in sequence(raw.get("rows"), f"the rows of container {container}"):
            kind, *fields = texts(item, "a row") or ("",)
            if "done" in rows and kind != "done":
                tampering.append(f"there is a row {kind} behind its last one")
            rows[kind] = (*rows.get(kind, ()), tuple(fields))
        trouble = str(raw.get("error") or ("" if "done" in rows else "its last row is missing"))
        return cls(container, rows, trouble, tuple(tampering))

    @cached_property
    def interference(self) -> list[str]:
        """Sentences about rows that cannot all be the probe's own: it tells everything once, and nothing else."""
        found = [*self.tampering, *(f"it has no rows {kind!r}" for kind in self.rows if kind not in KINDS)]
        for kind, width in KINDS.items():
            abouts = Counter(row[:width] for row in self.rows.get(kind, ()))
            found += [f"it tells of {' '.join((kind, *about))} twice" for about, count in abouts.items() if count > 1]
        what = f"a process of the agent interfered with the probe in container {self.container}"
        return [f"{what}: {sentence}" for sentence in found]

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
        """The errno of the attempt `name`, 0 when it succeeded; raises Unmeasured when it cannot be believed."""
        if self.interference:
            raise Unmeasured(self.interference[0])
        for row in self.of("try", 2):
            if row[0] == name:
                return _number(row[1], self.container)
        self.whole()
        raise Unmeasured(f"the probe in container {self.container} did not try {name}")

    def refused(self, written: str, refusals: Collection[int], what: str) -> None:
        """Raise Unmeasured unless the error number `written`, which `what` ended with, is one of `refusals`."""
        if (number := _number(written, self.container)) not in refusals:
            name = errno.errorcode.get(number, str(number))
            raise Unmeasured(f"{what} in container {self.container} ended with {name}, which is no refusal")


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
        found = [Findings.parse(one.name, probes.get(one.name)) for one in host.subject(Containers).agents]
        return cls(tuple(found), texts(canaries.get("sensitive"), "the places of canaries"))

    def _judged(self, judge: Callable[[Findings], list[str]]) -> list[str]:
        """What `judge` finds in every container; where somebody interfered with the probe, that is what is found.

        What was not measured in one container does not hide what was found in another.
        """
        sentences: list[str] = []
        unmeasured: Unmeasured | None = None
        for one in self.found:
            try:
                sentences += one.interference or judge(one)
            except Unmeasured as problem:
                unmeasured = unmeasured or problem
        if unmeasured and not sentences:
            raise unmeasured
        return sentences

    def identities_other_than(self, uid: int) -> list[str]:
        """Containers in which a program that is started as the agent is not `uid` with its group alone."""

        def judge(one: Findings) -> list[str]:
            rows = one.of("identity", 4)
            if not rows:
                one.whole()
                raise Unmeasured(f"the probe in container {one.container} did not say who it is")
            numbers = {word for field in rows[0] for word in field.split()}
            if numbers == {str(uid)}:
                return []
            shown = ", ".join(sorted(numbers))
            return [f"a program in container {one.container} runs with the ids {shown}, not {uid} alone"]

        return self._judged(judge)

    def _writable(self, one: Findings) -> list[str]:
        if not one.rows.get("walk"):
            one.whole()
            raise Unmeasured(f"the probe in container {one.container} saw no directory")
        return [row[0] for row in one.of("writable", 1)]

    def writable_beyond(self, allowed: Collection[str]) -> list[str]:
        """Directories outside of `allowed` in which the agent can create a file."""

        def judge(one: Findings) -> list[str]:
            beyond = [path for path in self._writable(one) if path not in allowed]
            if not beyond:
                one.whole()
                for row in one.of("refused", 2):
                    one.refused(row[0], CLOSED, "making a file in a directory")
            return [f"the agent can write to {path} in container {one.container}" for path in beyond]

        return self._judged(judge)

    def not_writable(self, wanted: Collection[str]) -> list[str]:
        """Directories of `wanted` in which the agent cannot create a file: the control experiment of the above."""

        def judge(one: Findings) -> list[str]:
            able = self._writable(one)
            one.whole()
            missing = sorted(set(wanted) - set(able))
            return [f"the agent cannot write to {path} in container {one.container}" for path in missing]

        return self._judged(judge)

    def executing_from_scratch(self) -> list[str]:
        """Scratch space from which the agent can run a program it has written."""

        def judge(one: Findings) -> list[str]:
            tried = one.of("execute", 3)
            able = [path for path, error, *_ in tried if error == "0"]
            for path, error, readable in (row[:3] for row in tried if row[0] not in able):
                one.refused(error, DENIALS, f"running a script from {path}")
                if readable != "0":
                    raise Unmeasured(f"a script in {path} of container {one.container} could not even be read")
            if not tried:
                one.whole()
                raise Unmeasured(f"the probe in container {one.container} found no scratch space to execute from")
            return [f"the agent can execute a program of its own from {path} in {one.container}" for path in able]

        return self._judged(judge)

    def allowed(self, attempts: Collection[str], control: str) -> list[str]:
        """Those of `attempts` that the kernel does not refuse; `control` is the one that must succeed."""

        def judge(one: Findings) -> list[str]:
            if (error := one.attempt(control)) != 0:
                name = errno.errorcode.get(error, str(error))
                raise Unmeasured(
                    f"in container {one.container} even {control} fails ({name}), so a refusal says nothing"
                )
            sentences = []
            for name in attempts:
                error = one.attempt(name)
                if error not in DENIALS:
                    got = "succeeds" if error == 0 else f"gets as far as {errno.errorcode.get(error, str(error))}"
                    sentences.append(f"{name} {got} in container {one.container}")
            return sentences

        return self._judged(judge)

    def engines_answering(self) -> list[str]:
        """Container engines that the agent can talk to, by unix socket or at its gateway; control: ordinary TCP."""

        def judge(one: Findings) -> list[str]:
            sentences = []
            sockets = [row[:3] for row in one.of("socket", 3)]
            for path, error, answer in sockets:
                name = path.rpartition("/")[2].lower()
                known = any(word in name for word in ENGINE_NAMES) or any(w in answer.lower() for w in ENGINE_ANSWERS)
                if error == "0" and known:
                    sentences.append(f"a container engine answers the agent on {path} in container {one.container}")
            ports = [row[:3] for row in one.of("engine-port", 3)]
            for address, port, error in ports:
                if error == "0":
                    sentences.append(f"the agent in container {one.container} can connect to {address} port {port}")
            if not sentences:
                one.whole()
                if one.attempt("tcp") != 0:
                    raise Unmeasured(f"in container {one.container} even ordinary TCP fails, so silence says nothing")
                asked = [(f"a call of {path}", error) for path, error, _ in sockets if error != "0"]
                asked += [(f"a call of {address} port {port}", error) for address, port, error in ports]
                for what, error in asked:
                    one.refused(error, NOBODY_THERE, what)
            return sentences

        return self._judged(judge)

    def canaries_seen(self) -> list[str]:
        """Canaries of the host's sensitive directories that are seen inside; control: the one in the workspace is."""

        def judge(one: Findings) -> list[str]:
            places = [row[0] for row in one.of("canary", 2)]
            foreign = [place for place in places if not place.startswith(WORKSPACE.rpartition("/")[0])]
            if not foreign:
                one.whole()
                if not any(row[0] == WORKSPACE and row[1] == "0" for row in one.of("canary", 2)):
                    raise Unmeasured(f"in container {one.container} not even the workspace's own canary was seen")
            return [f"a file of the host is seen in {place} of container {one.container}" for place in foreign]

        sentences = self._judged(judge)
        if not sentences and not self.planted:
            raise Unmeasured("no canary could be laid into any sensitive directory of the host")
        return sentences

    def unreadable(self, path: str) -> list[str]:
        """Containers in which the agent cannot read `path`, which it needs."""

        def judge(one: Findings) -> list[str]:
            rows = [row for row in one.of("readable", 2) if row[0] == path]
            if not rows:
                one.whole()
                raise Unmeasured(f"the agent in container {one.container} was not told of {path}")
            return [f"the agent in container {one.container} cannot read {path}" for row in rows if row[1] != "0"]

        return self._judged(judge)


def _number(text: str, container: str) -> int:
    found = number(text)
    if found is None:
        raise Unmeasured(f"the probe in container {container} gave {text!r} where a number was due")
    return found
