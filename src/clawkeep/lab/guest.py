"""What makes a plain Debian tree the lab's host: its packages, its files and which of its units run."""

from __future__ import annotations

from dataclasses import dataclass

from clawkeep.lab import topology as t

# What the tiers' roles will configure. Installing it under software emulation takes minutes: it is baked in.
PACKAGES = (
    *("linux-image-cloud-amd64", "initramfs-tools", "systemd", "systemd-sysv", "udev", "kmod", "dbus"),
    *("libnss-systemd", "libnss-myhostname", "libpam-systemd", "openssh-server", "sudo", "cron", "logrotate"),
    *("python3", "python3-apt", "python3-requests", "python3-yaml"),
    *("docker.io", "docker-cli", "docker-compose", "containerd", "runc"),
    *("nftables", "iptables", "iproute2", "iputils-ping", "conntrack", "wireguard-tools", "socat", "netcat-openbsd"),
    *("apparmor", "apparmor-utils", "apparmor-profiles", "auditd", "acl", "attr", "libcap2-bin", "strace", "gpg"),
    *("ca-certificates", "chrony", "rsyslog", "rsyslog-gnutls", "squid-openssl", "nginx", "dnsmasq-base"),
    *("unattended-upgrades", "needrestart", "procps", "curl", "jq", "less", "e2fsprogs", "cryptsetup"),
    "util-linux-extra",
)

# The smallest initrd that finds the root disk: emulated instructions are what a lab's start is made of.
INITRAMFS_MODULES = ("virtio_pci", "virtio_blk", "ext4")

ADMIN = "ops"
ADMIN_UID = 2000

# Installed for the higher tiers, whose roles enable them; a tier 1 host listens on ssh alone.
DISABLED_UNITS = (
    "squid.service",
    "nginx.service",
    "rsyslog.service",
    "syslog.socket",
    "chrony.service",
    "auditd.service",
    "cryptdisks.service",
    "cryptdisks-early.service",
    # The lab has no package mirror: these would only burn emulated instructions. Roles may enable them.
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "unattended-upgrades.service",
)
MASKED_UNITS = (
    "man-db.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "systemd-firstboot.service",
    "systemd-hwdb-update.service",
    "systemd-timesyncd.service",
    "systemd-pcrlock.socket",
    "systemd-boot-random-seed.service",
    "getty@tty1.service",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
    "systemd-update-done.service",
)
ENABLED_UNITS = ("systemd-networkd.service", "systemd-networkd-wait-online.service", "ssh.service", "docker.service")


@dataclass(frozen=True)
class File:
    """One file of the guest: absolute path, text and mode; owned by root."""

    path: str
    text: str
    mode: int = 0o644


def files() -> tuple[File, ...]:
    """The files laid over the installed tree."""
    return (
        File("/etc/fstab", "/dev/vda / ext4 defaults,noatime 0 1\n"),
        File("/etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"),
        File("/etc/resolv.conf", "".join(f"nameserver {a}\n" for a in t.RESOLVERS)),
        File(f"/etc/sudoers.d/{ADMIN}", f"{ADMIN} ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440),
        *_cards(),
        File("/etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=persistent\nSystemMaxUse=64M\n"),
        # systemd's default five minutes hold up a reboot whose services are merely slow under emulation.
        File("/etc/systemd/system.conf.d/lab.conf", "[Manager]\nDefaultTimeoutStartSec=5min\n"),
    )


def _cards() -> tuple[File, ...]:
    private = f"Address={t.HOST_PRIVATE_ADDRESS}\n"
    addresses = "".join(f"Address={a}\n" for a in t.HOST_ADDRESSES)
    gateways = "".join(f"Gateway={g}\n" for g in t.GATEWAYS)
    on_link = "".join(f"\n[Route]\nDestination={n}\nScope=link\n" for n in t.METADATA_NETWORKS)
    return (
        _named("10-mgmt", t.MGMT_MAC, "mgmt"),
        _named("10-lab0", t.LAB_MAC, "lab0"),
        File(
            "/etc/systemd/network/20-mgmt.network",
            f"[Match]\nName=mgmt\n\n[Network]\nAddress={t.MGMT_ADDRESS}\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        ),
        File(
            "/etc/systemd/network/20-lab0.network",
            "[Match]\nName=lab0\n\n"
            # Without DHCP or a router nobody ever calls this card online: what waits for that would wait two minutes.
            "[Link]\nRequiredForOnline=no\n\n"
            f"[Network]\n{addresses}{private}{gateways}IPv6AcceptRA=no\n{on_link}",
        ),
    )


def _named(file: str, mac: str, name: str) -> File:
    return File(
        f"/etc/systemd/network/{file}.link",
        f"[Match]\nMACAddress={mac}\nType=ether\n\n[Link]\nName={name}\nMACAddressPolicy=none\n",
    )
