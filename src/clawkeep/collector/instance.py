"""Which machine this is, as its firmware says: by this a provider's record is told from another's. Read as root."""

from __future__ import annotations

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder

FIRMWARE = "/sys/class/dmi/id/"
FIELDS = ("sys_vendor", "product_name", "product_version", "chassis_asset_tag", "board_asset_tag", "product_uuid")


def collect(rec: Recorder) -> None:
    """Note the firmware's words (null where it has none), and whether the processor says that it is a guest's."""
    words = {name: proc.read(FIRMWARE + name, 200) for name in FIELDS}
    cpu = proc.read("/proc/cpuinfo") or ""
    flags = next((line for line in cpu.splitlines() if line.startswith("flags")), "").split()
    rec.note(
        "instance",
        {
            "firmware": {name: None if word is None else word.strip() for name, word in words.items()},
            "guest": "hypervisor" in flags if flags else None,
        },
    )
