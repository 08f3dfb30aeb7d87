"""What the lab decides from what it finds: accelerator, refusal of old tools, names, cache keys."""

from pathlib import Path

import pytest

from clawkeep.lab import accelerator, cache, tools
from clawkeep.lab.errors import LabError
from clawkeep.lab.topology import PLACES, SCENARIOS, Lab

VIRTUALISES = "processor\t: 0\nflags\t\t: fpu vme svm de\n"
PLAIN = "processor\t: 0\nflags\t\t: fpu vme de svm_lock\nmodel name\t: vmx\n"


@pytest.mark.parametrize(
    ("cpuinfo", "kvm_opens", "chosen"),
    [
        (VIRTUALISES, True, "kvm"),
        (VIRTUALISES.replace("svm", "vmx"), True, "kvm"),
        (VIRTUALISES, False, "tcg"),
        (PLAIN, True, "tcg"),  # a /dev/kvm on which no stock kernel boots
        (PLAIN, False, "tcg"),
    ],
)
def test_kvm_needs_both_the_device_and_the_processor(cpuinfo: str, kvm_opens: bool, chosen: str) -> None:
    decided = accelerator.choose(cpuinfo, kvm_opens)
    assert decided.name == chosen
    assert decided.slow == (chosen == "tcg")


def test_a_device_that_is_not_there_does_not_open(tmp_path: Path) -> None:
    assert not accelerator.opens(tmp_path / "kvm")


@pytest.mark.parametrize("version", ["QEMU emulator version 7.2.17 (Debian 1:7.2)", "QEMU emulator version 6.0.0"])
def test_an_old_qemu_is_refused_with_its_remedy(version: str) -> None:
    with pytest.raises(LabError, match=r"QEMU [67]\.\d cannot run .*apt-get install"):
        tools.refuse_old_qemu(version)


@pytest.mark.parametrize("version", ["QEMU emulator version 8.0.0", "QEMU emulator version 10.0.2 (Debian 1:10)"])
def test_a_new_qemu_is_welcome(version: str) -> None:
    tools.refuse_old_qemu(version)


def test_missing_programs_are_told_with_one_apt_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "SEARCH_PATH", "/nowhere")
    with pytest.raises(LabError, match=r"mmdebstrap, qemu-img: run `apt-get install .* mmdebstrap qemu-utils`$"):
        tools.need("mmdebstrap", "qemu-img")


def test_a_log_store_without_its_module_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "need", lambda *_: None)
    with pytest.raises(LabError, match=r"install .* rsyslog-relp`$"):
        tools.need_log_store(tmp_path)
    (tmp_path / "x86_64-linux-gnu" / "rsyslog").mkdir(parents=True)
    (tmp_path / "x86_64-linux-gnu" / "rsyslog" / "imrelp.so").touch()
    tools.need_log_store(tmp_path)


def test_labs_in_different_folders_share_no_name(tmp_path: Path) -> None:
    scenario = SCENARIOS["tier1_personal"]
    one, other = Lab(scenario, tmp_path / "a"), Lab(scenario, tmp_path / "b")
    assert not set(one.namespaces) & set(other.namespaces)
    assert len(one.namespaces) == len(PLACES) + 1


def test_a_lab_keeps_its_names_and_its_port(tmp_path: Path) -> None:
    scenario = SCENARIOS["tier1_personal"]
    one, again = Lab(scenario, tmp_path), Lab(scenario, tmp_path)
    assert one.namespaces == again.namespaces
    assert one.preferred_port == again.preferred_port
    assert 1024 < one.preferred_port < 32768  # below the ports that the kernel gives to clients


def test_interface_names_fit_the_kernel() -> None:
    assert all(len(place.name) <= 15 for place in PLACES)


def test_any_changed_input_changes_the_key() -> None:
    keys = [cache.key("a", "b"), cache.key("b", "a"), cache.key("ab"), cache.key("a", "b", ""), cache.key("a", b"c")]
    assert len(set(keys)) == len(keys)
    assert cache.key("a", "b") == cache.key("a", b"b")


def test_a_changed_recipe_is_a_new_product() -> None:
    assert cache.key(cache.source("guest.py")) != cache.key(cache.source("guest.py", "image.py"))
