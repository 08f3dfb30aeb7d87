"""The virtual machine: QEMU's command line, and its monitor for snapshots."""

from __future__ import annotations

import json
import socket
import subprocess
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from clawkeep.lab import accelerator, guest, network, tools
from clawkeep.lab.errors import LabError
from clawkeep.lab.image import HostImage
from clawkeep.lab.topology import LAB_MAC, MGMT_MAC, Lab

MEMORY_MIB = 6144
CPUS = 2
_MONITOR_PATIENCE = 120.0  # seconds; saving gigabytes of memory to a slow disk is the longest answer


@dataclass(frozen=True)
class Files:
    """The machine's files in the lab's state folder."""

    folder: Path

    @property
    def disk(self) -> Path:
        """The overlay that takes every write, and the snapshots."""
        return self.folder / "disk.qcow2"

    @property
    def monitor(self) -> Path:
        """QEMU's QMP socket."""
        return self.folder / "qmp.sock"

    @property
    def console(self) -> Path:
        """The guest's serial console, since the machine started."""
        return self.folder / "console.log"

    @property
    def log(self) -> Path:
        """What QEMU itself says."""
        return self.folder / "qemu.log"


def create_disk(lab: Lab, image: HostImage) -> None:
    """A fresh disk: an empty overlay on the image."""
    disk = Files(lab.state).disk
    disk.unlink(missing_ok=True)
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image.disk), str(disk)], check=True
    )


def snapshots(lab: Lab) -> list[str]:
    """Names of the snapshots in the lab's disk, whether it runs or not."""
    listed = subprocess.run(
        ["qemu-img", "info", "--force-share", "--output=json", str(Files(lab.state).disk)],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        return []
    return [s["name"] for s in json.loads(listed.stdout).get("snapshots", [])]


def start(
    lab: Lab, image: HostImage, port: int, public_key: str, environment: Mapping[str, str], snapshot: str | None = None
) -> subprocess.Popen[bytes]:
    """Start QEMU, from power-on or from a snapshot; ssh will answer on 127.0.0.1:port.

    The guest boots directly from the image's kernel, so it can also reboot itself.
    """
    files = Files(lab.state)
    files.monitor.unlink(missing_ok=True)
    with network.tap(lab) as tap, files.log.open("wb") as log:
        argv = _arguments(lab, image, port, public_key, tap)
        if snapshot is not None:
            argv += ["-loadvm", snapshot]
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            pass_fds=[tap],
            start_new_session=True,
        )


def _arguments(lab: Lab, image: HostImage, port: int, public_key: str, tap: int) -> list[str]:
    files = Files(lab.state)
    return [
        tools.QEMU,
        *("-name", f"clawkeep-{lab.id}", "-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35"),
        *accelerator.detect().arguments,
        *("-smp", str(CPUS), "-m", str(MEMORY_MIB)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", _command_line(lab, public_key)),
        *("-drive", f"file={files.disk},if=virtio,format=qcow2,cache=unsafe,discard=unmap"),
        *("-netdev", f"user,id=mgmt,restrict=on,ipv6=off,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", f"virtio-net-pci,netdev=mgmt,mac={MGMT_MAC},romfile="),
        *("-netdev", f"tap,id=lab0,fd={tap}"),
        *("-device", f"virtio-net-pci,netdev=lab0,mac={LAB_MAC},romfile="),
        *("-device", "virtio-rng-pci"),
        *("-rtc", "base=utc,clock=host"),
        *("-chardev", f"file,id=console,path={files.console}", "-serial", "chardev:console"),
        *("-qmp", f"unix:{files.monitor},server=on,wait=off"),
    ]


def _command_line(lab: Lab, public_key: str) -> str:
    """The kernel's command line. It hands the guest its name and, as a systemd credential, the administrator's key."""
    keys = f"/home/{guest.ADMIN}/.ssh"
    lines = (
        f"d {keys} 0700 {guest.ADMIN} {guest.ADMIN} -\n"
        f"f+ {keys}/authorized_keys 0600 {guest.ADMIN} {guest.ADMIN} - {public_key}\n"
    )
    return " ".join(
        (
            "root=/dev/vda rw console=ttyS0 loglevel=4 systemd.show_status=auto",
            "apparmor=1 security=apparmor lsm=landlock,lockdown,yama,integrity,apparmor,bpf",
            "mitigations=off no_timer_check systemd.ssh_auto=no",
            f"systemd.hostname={lab.scenario.host}",
            f"systemd.set_credential_binary=tmpfiles.extra:{b64encode(lines.encode()).decode()}",
        )
    )


def monitor(lab: Lab, command: str) -> str:
    """Run one line of QEMU's human monitor; its output. Raises `LabError` when the machine does not answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_MONITOR_PATIENCE)
        try:
            connection.connect(str(Files(lab.state).monitor))
            with connection.makefile("rw", encoding="utf-8") as channel:
                json.loads(channel.readline())  # the greeting
                _execute(channel, "qmp_capabilities")
                return str(_execute(channel, "human-monitor-command", {"command-line": command}))
        except (OSError, ValueError) as error:
            raise LabError(f"the machine's monitor does not answer ({error}): see `clawkeep lab status`") from error


def _execute(channel: TextIO, command: str, arguments: Mapping[str, object] | None = None) -> object:
    channel.write(json.dumps({"execute": command, "arguments": arguments or {}}) + "\n")
    channel.flush()
    while True:
        answer = json.loads(channel.readline())
        if "return" in answer:
            return answer["return"]
        if "error" in answer:
            raise LabError(f"the machine refused {command}: {answer['error']['desc']}")


def save(lab: Lab, name: str) -> None:
    """Keep the running machine, memory included, as snapshot `name`; an older one of that name is replaced."""
    complaint = monitor(lab, f"savevm {name}").strip()
    if complaint:
        raise LabError(f"the snapshot {name} was not taken: {complaint}")
