"""Sensitive paths are judged as paths; mount tables tell the path that the kernel used."""

from __future__ import annotations

import pytest

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.containers.mountinfo import host_paths, parse
from clawkeep.subjects.containers.sensitive_paths import engine_sockets_in, why_sensitive


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "/etc/ssh",
        "/root/.ssh",
        "/home/ada",
        "/boot/efi",
        "/dev/sda",
        "/proc/1/root",
        "/sys/fs",
        "/run/docker.sock",
        "/var",
        "/var/lib",
        "/var/lib/docker/volumes/x/_data",
        "/srv/ada/.aws/credentials",
        "/srv/.netrc",
    ],
)
def test_sensitive_paths(path: str) -> None:
    assert why_sensitive(path) is not None


@pytest.mark.parametrize(
    "path", ["/srv", "/srv/etc", "/etcetera", "/var/log", "/opt/run", "/homeless", "/srv/ssh", "/usr/lib"]
)
def test_lookalikes_are_not_sensitive(path: str) -> None:
    assert why_sensitive(path) is None


def test_a_directory_around_a_socket_holds_it() -> None:
    sockets = ["/run/docker.sock", "/run/containerd/containerd.sock"]
    assert engine_sockets_in("/run", sockets) == sockets
    assert engine_sockets_in("/run/docker.sock", sockets) == ["/run/docker.sock"]
    assert engine_sockets_in("/run/dock", sockets) == []


HOST = parse(
    [
        "24 1 254:0 / / rw shared:1 - ext4 /dev/vda rw",
        "30 24 254:0 /srv/pool /mnt/pool rw - ext4 /dev/vda rw",
        "31 24 0:25 / /run rw shared:5 - tmpfs tmpfs rw",
    ]
)


@pytest.mark.parametrize(
    ("line", "paths"),
    [
        ("9 1 254:0 /etc /x ro - ext4 /dev/vda rw", ["/etc"]),
        ("9 1 254:0 /srv/pool/a /x rw - ext4 /dev/vda rw", ["/srv/pool/a", "/mnt/pool/a"]),
        ("9 1 0:25 /docker.sock /x rw - tmpfs tmpfs rw", ["/run/docker.sock"]),
        ("9 1 0:77 / /x rw - tmpfs tmpfs rw", []),
        ("9 1 254:0 /etc/a\\040b//deleted /x rw - ext4 /dev/vda rw", ["/etc/a b"]),
    ],
)
def test_the_kernel_tells_the_path_behind_a_mount(line: str, paths: list[str]) -> None:
    (mount,) = parse([line])
    assert host_paths(mount, HOST) == paths


@pytest.mark.parametrize("line", ["", "nonsense", "9 1 254:0 / /x rw", "9 1 254:0 / /x rw - ext4"])
def test_a_line_of_another_form_is_not_measured(line: str) -> None:
    with pytest.raises(Unmeasured):
        parse([line])
