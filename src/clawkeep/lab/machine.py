"""The virtual machine: QEMU's command line, and its snapshots: the disk's inside the disk, the memory's beside it."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clawkeep.lab import accelerator, guest, network, qmp, tools
from clawkeep.lab.image import HostImage
from clawkeep.lab.topology import LAB_MAC, MGMT_MAC, Lab

MEMORY_MIB = 6144
CPUS = 2
_DISK = "disk"


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

    @property
    def memories(self) -> Path:
        """The folder of the snapshots' memories, one file each; its disk is kept in `disk` under the same name."""
        return self.folder / "memories"


def create_disk(lab: Lab, image: HostImage) -> None:
    """A fresh disk: an empty overlay on the image."""
    files = Files(lab.state)
    files.disk.unlink(missing_ok=True)
    shutil.rmtree(files.memories, ignore_errors=True)
    _qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image.disk), str(files.disk))


def snapshots(lab: Lab) -> list[str]:
    """Names of the snapshots in the lab's folder, whether it runs or not."""
    memories = Files(lab.state).memories
    return sorted(memory.name for memory in memories.iterdir()) if memories.exists() else []


def _qemu_img(*arguments: str) -> None:
    subprocess.run(["qemu-img", *arguments], check=True)


def start(
    lab: Lab, image: HostImage, port: int, public_key: str, environment: Mapping[str, str], snapshot: str | None = None
) -> subprocess.Popen[bytes]:
    """Start QEMU; ssh will answer on 127.0.0.1:port. With a snapshot the disk is put back and QEMU waits for `load`.

    The guest boots directly from the image's kernel, so it can also reboot itself.
    """
    files = Files(lab.state)
    files.monitor.unlink(missing_ok=True)
    with network.tap(lab) as tap, files.log.open("wb") as log:
        argv = _arguments(lab, image, port, public_key, tap)
        if snapshot is not None:
            _qemu_img("snapshot", "-a", snapshot, str(files.disk))
            argv += ["-incoming", "defer"]
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
        *("-uuid", str(uuid.uuid5(uuid.NAMESPACE_OID, lab.id))),
        *accelerator.detect().arguments,
        *("-smp", str(CPUS), "-m", str(MEMORY_MIB)),
        *("-kernel", str(image.kernel), "-initrd", str(image.initrd), "-append", _command_line(lab, public_key)),
        *("-drive", f"id={_DISK},file={files.disk},if=virtio,format=qcow2,cache=unsafe,discard=unmap"),
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


@contextmanager
def paused(lab: Lab) -> Iterator[None]:
    """The running machine stands still, and its disk's file is whole."""
    with qmp.connected(Files(lab.state).monitor) as monitor:
        monitor.execute("stop")
        try:
            yield
        finally:
            monitor.execute("cont")


def save(lab: Lab, name: str) -> None:
    """Keep the running machine, memory included, as snapshot `name`; an older one of that name is replaced.

    The guest stands still meanwhile and goes on after it, also when saving failed.
    """
    files = Files(lab.state)
    kept, unfinished = files.memories / name, files.folder / "memory.new"
    files.memories.mkdir(mode=0o700, exist_ok=True)
    unfinished.unlink(missing_ok=True)
    with qmp.connected(files.monitor) as monitor:
        monitor.execute("stop")
        try:
            if kept.exists():
                kept.unlink()
                monitor.execute("blockdev-snapshot-delete-internal-sync", device=_DISK, name=name)
            monitor.execute("blockdev-snapshot-internal-sync", device=_DISK, name=name)
            monitor.prefer("mapped-ram")
            monitor.execute("migrate", uri=f"file:{unfinished}")
            monitor.await_migration()
            unfinished.rename(kept)
        finally:
            monitor.execute("cont")


def load(lab: Lab, name: str) -> None:
    """Fill the machine that was started for snapshot `name` with its memory, and let it run."""
    files = Files(lab.state)
    with qmp.connected(files.monitor) as monitor:
        monitor.prefer("mapped-ram")
        monitor.execute("migrate-incoming", uri=f"file:{files.memories / name}")
        monitor.await_migration()
        monitor.execute("cont")
