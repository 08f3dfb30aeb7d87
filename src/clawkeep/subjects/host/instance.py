"""Which machine the host is: a provider's instance or the site's own metal, and what tells it from every other."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from clawkeep.base.verdict import Unmeasured
from clawkeep.evidence.document import HostEvidence
from clawkeep.evidence.parsing import boolean, mapping, text

# How providers sign the firmware of their machines, bare metal included.
PROVIDERS = re.compile(
    r"amazon|google|alibaba|digitalocean|hetzner|openstack|oraclecloud|scaleway|vultr|linode|akamai|upcloud|ovh"
    r"|ibm cloud|tencent|exoscale|7783-7084-3265-9085-8269-3286-77",  # the last is Azure's asset tag
    re.I,
)
NOBODY = re.compile(r"[0fF-]*")  # a number that a maker never gave


@dataclass(frozen=True)
class Instance:
    """Source: /sys/class/dmi/id and the processor's flag `hypervisor`. `firmware` maps file names to their one line."""

    firmware: Mapping[str, str]
    guest: bool

    @classmethod
    def read(cls, host: HostEvidence) -> Self:
        """Read the inside evidence; raises `Unmeasured` when firmware or processor say nothing."""
        noted = mapping(host.inside.fact("instance"), "the machine's identity")
        words = mapping(noted.get("firmware"), "what the firmware says")
        known = {name: text(word, f"the firmware's {name}") for name, word in words.items() if word is not None}
        if "sys_vendor" not in known:
            raise Unmeasured("the firmware does not say whose machine this is")
        return cls(known, boolean(noted.get("guest"), "whether this is a guest"))

    @property
    def own_metal(self) -> bool:
        """Whether no provider can stand behind it: not a guest, and signed by none that is known."""
        return not self.guest and not any(PROVIDERS.search(word) for word in self.firmware.values())

    @property
    def digest(self) -> str:
        """`sha256:` of vendor and number, a line each, as `sha256sum` has it of the two files.

        Raises `Unmeasured` when the number is missing or a filler: a record could be that of any machine.
        """
        number = self.firmware.get("product_uuid", "")
        if NOBODY.fullmatch(number):
            raise Unmeasured("the firmware gives this machine no number of its own (product_uuid)")
        told = f"{self.firmware['sys_vendor']}\n{number}\n"
        return "sha256:" + hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()
