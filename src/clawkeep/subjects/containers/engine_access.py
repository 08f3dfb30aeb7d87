"""Who gets an answer from the container engine's own sockets on the host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import integer, mapping, text


@dataclass(frozen=True)
class EngineAccess:
    """By socket that exists on the host: what root got, and what the agent's service uid got (`ok` or an errno)."""

    uid: int
    sockets: Mapping[str, tuple[str, str]]

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """From a `/_ping` as root and a connect as the service uid, made on the host."""
        raw = mapping(host.inside.fact("engine-access"), "the access to engine sockets")
        sockets = {}
        for path, item in mapping(raw.get("sockets"), "the engine's sockets").items():
            answers = mapping(item, f"the access to {path}")
            if answers.get("service") is None:
                raise Unmeasured(f"it was not tried whether the service account reaches {path}")
            sockets[path] = (text(answers.get("root"), path), text(answers["service"], path))
        return cls(integer(raw.get("uid"), "the service uid"), sockets)

    def open_to_service(self) -> list[str]:
        """Engine sockets that the service account can open; control: root gets an answer from at least one."""
        if "answered" not in {root for root, _ in self.sockets.values()}:
            raise Unmeasured("no container engine answers root on its socket, so a refusal to others says nothing")
        return [
            f"uid {self.uid} can open the engine socket {path} of the host"
            for path, (_, service) in sorted(self.sockets.items())
            if service not in ("EACCES", "EPERM")
        ]
