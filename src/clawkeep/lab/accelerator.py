"""Hardware virtualisation or software emulation: decided by what the machine can do, not by what it pretends."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KVM = ("-accel", "kvm", "-cpu", "host")
# A named CPU model translates faster than `max`, whose every feature must be emulated. Wide vectors are left out: a
# compiler at run time (Node's) uses them wherever they are, and each of their instructions is many when emulated.
CPU = "EPYC,-avx,-avx2,-f16c,-fma,-bmi1,-bmi2"
TCG = ("-accel", "tcg,thread=multi,tb-size=1024", "-cpu", CPU)


@dataclass(frozen=True)
class Accelerator:
    """How QEMU runs the guest: `arguments` for its command line, `slow` when every instruction is emulated."""

    name: str
    arguments: Sequence[str]
    slow: bool


def opens(device: Path) -> bool:
    """Whether the device can be opened for reading and writing by us, now."""
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def choose(cpuinfo: str, kvm_opens: bool) -> Accelerator:
    """Choose from the text of /proc/cpuinfo and whether /dev/kvm opens.

    Both are asked: there are machines with a /dev/kvm on which no stock kernel ever boots, and QEMU's own fallback
    (`kvm:tcg`) hangs on them.
    """
    virtualises = re.search(r"^flags\s*:.*\b(vmx|svm)\b", cpuinfo, re.MULTILINE) is not None
    if kvm_opens and virtualises:
        return Accelerator("kvm", KVM, slow=False)
    return Accelerator("tcg", TCG, slow=True)


def detect() -> Accelerator:
    """Choose for this machine."""
    return choose(Path("/proc/cpuinfo").read_text(), opens(Path("/dev/kvm")))
