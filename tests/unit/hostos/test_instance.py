"""IMD-04's subject: whose machine it is, and that a record of another one does not count."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.collector import instance as collector
from clawkeep.collector.recorder import Recorder
from clawkeep.evidence.document import HostEvidence
from clawkeep.subjects.host.instance import Instance

NUMBER = "ec2a1b2c-0000-4000-8000-0123456789ab"


def machine(guest: Any = True, **firmware: Any) -> Instance:
    words = {"sys_vendor": "QEMU", "product_name": "Standard PC", "product_uuid": NUMBER} | firmware
    inside = {"schema": 1, "facts": {"instance": {"firmware": words, "guest": guest}}}
    return HostEvidence("h", {"schema": 1, "host": "h", "inside": inside}).subject(Instance)


def test_ones_own_metal_has_no_provider() -> None:
    assert machine(False, sys_vendor="Supermicro").own_metal


@pytest.mark.parametrize(
    ("guest", "firmware"),
    [
        (True, {}),  # a guest of somebody who does not say so
        (False, {"sys_vendor": "Amazon EC2", "product_name": "c5.metal"}),
        (True, {"sys_vendor": "Microsoft", "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"}),
        (False, {"chassis_asset_tag": "OracleCloud.com"}),
    ],
)
def test_what_may_be_a_providers_is_asked_about(guest: bool, firmware: dict[str, str]) -> None:
    assert not machine(guest, **firmware).own_metal


def test_a_record_of_another_machine_is_about_something_else() -> None:
    assert machine().digest != machine(product_uuid="ec2ffff0-0000-4000-8000-0123456789ab").digest
    assert machine().digest == "sha256:" + hashlib.sha256(f"QEMU\n{NUMBER}\n".encode()).hexdigest()


@pytest.mark.parametrize("number", [None, "", "00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff"])
def test_a_machine_without_a_number_is_not_measured(number: str | None) -> None:
    with pytest.raises(Unmeasured, match="number of its own"):
        _ = machine(product_uuid=number).digest


@pytest.mark.parametrize(
    ("guest", "firmware"), [(None, {}), ("yes", {}), (True, {"sys_vendor": None}), (True, {"sys_vendor": ["QEMU"]})]
)
def test_misshapen_identity_is_not_measured(guest: Any, firmware: dict[str, Any]) -> None:
    with pytest.raises(Unmeasured):
        machine(guest, **firmware)


def test_the_collector_reads_firmware_and_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sys_vendor").write_text("QEMU\n", encoding="utf-8")
    monkeypatch.setattr(collector, "FIRMWARE", f"{tmp_path}/")
    noted: dict[str, Any] = {}
    monkeypatch.setattr(Recorder, "note", lambda _, key, value: noted.update({key: value}))
    collector.collect(Recorder({}))
    assert noted["instance"]["firmware"]["sys_vendor"] == "QEMU"
    assert noted["instance"]["firmware"]["product_uuid"] is None
