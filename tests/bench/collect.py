"""The cost of collecting a fleet: `clawkeep verify` and playbooks/collect.yml against real sshd targets, here.

Run `python tests/bench/collect.py [--sshd PATH] [--seconds S] [HOSTS ...]` (1 10 50) as root on Linux. Prints Markdown.

Everything is in a network and a mount namespace of its own, which end with this program: each target is an sshd on an
address 127.1.0.N, with a host key and a client key that are made for the run. Where sshd is not installed, it can be
unpacked without being installed (`apt-get download openssh-server libwrap0`, `dpkg -x`) and named by --sshd.

The real collector would look at this very machine, and try what it can reach. In its place a stand-in goes over the
same way: the same modules in the same zip, but a main program that only reads its parameters, waits S seconds as a host
takes to collect, and prints the recorded document of a tier 1 host. All else is the shipped code.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "CLAWKEEP_BENCH_INSIDE"  # environment variable: the namespaces are there already
STAND_IN = '''"""A stand-in for the collector: it looks at nothing."""
import json, sys, time
told = json.loads(sys.stdin.read())
time.sleep({seconds})
with open({document!r}, encoding="utf-8") as file:
    sys.stdout.write(file.read())
'''
SITE = """---
site_name: bench
site_public_endpoint: "192.0.2.80:80"
site_console: none
"""


@dataclass(frozen=True)
class Cost:
    """What one collection took: of the controller's processes alone, but for the bytes, which are both ways."""

    wall: float
    cpu: float
    peak: float  # MiB, of all its processes together
    sent: int  # bytes


def main() -> None:
    """Print the table."""
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--sshd", default=shutil.which("sshd") or "/usr/sbin/sshd")
    asked.add_argument("--seconds", type=float, default=5.0, help="how long a host takes to collect")
    asked.add_argument("hosts", nargs="*", type=int, default=[1, 10, 50])
    options = asked.parse_args()
    if os.environ.get(INSIDE) is None:
        if os.geteuid() != 0 or not Path(options.sshd).is_file():
            sys.exit("collect.py: run it as root, with an sshd (see its first lines)")
        argv = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable]
        os.execvpe("unshare", [*argv, *sys.argv], {**os.environ, INSIDE: "1"})  # noqa: S606
    with tempfile.TemporaryDirectory(prefix="clawkeep-bench-") as folder:
        bench = Bench(Path(folder), options.sshd, options.seconds)
        bench.private()
        with bench.targets(max(options.hosts)):
            bench.table(options.hosts)


class Bench:
    """The folder of one run: a checkout with the stand-in, keys, targets, inventories and bundles."""

    def __init__(self, folder: Path, sshd: str, seconds: float) -> None:
        self.folder, self.sshd, self.seconds = folder, sshd, seconds
        self.checkout = folder / "checkout"

    def private(self) -> None:
        """What is this run's alone: loopback, sshd's folder and account, the checkout and the keys."""
        run("ip", "link", "set", "lo", "up")
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        Path("/run/sshd").mkdir(mode=0o755)
        accounts = self.folder / "passwd"
        known = Path("/etc/passwd").read_text(encoding="utf-8")
        if "\nsshd:" not in known:
            accounts.write_text(f"{known}sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n", encoding="utf-8")
            accounts.chmod(0o644)
            run("mount", "--bind", str(accounts), "/etc/passwd")
        self.checkout.mkdir()
        for name in ("docs", "tests", "playbooks", "roles", "ansible.cfg"):
            (self.checkout / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "src", self.checkout / "src")
        recorded = next((ROOT / "tests" / "recorded" / "tier1_personal" / "hosts").glob("*.json"))
        document = self.folder / "document.json"
        inside = json.loads(recorded.read_text(encoding="utf-8"))["inside"]
        document.write_text(json.dumps(inside, sort_keys=True) + "\n", encoding="utf-8")
        program = self.checkout / "src" / "clawkeep" / "collector" / "__main__.py"
        program.write_text(STAND_IN.format(seconds=self.seconds, document=str(document)), encoding="utf-8")
        for key in ("host", "client"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key))

    @contextlib.contextmanager
    def targets(self, count: int) -> Iterator[None]:
        """So many sshds; they end with this."""
        settings = self.folder / "sshd_config"
        lines = [
            f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.folder}/client.pub",
            *("PasswordAuthentication no", "KbdInteractiveAuthentication no", "UsePAM no", "PidFile none"),
            *("PermitRootLogin prohibit-password", "StrictModes no", "UseDNS no", "LogLevel ERROR", "MaxStartups 100"),
        ]
        settings.write_text("\n".join(lines) + "\n", encoding="utf-8")
        libraries = next(iter(Path(self.sshd).parents[2].glob("usr/lib/*/libwrap.so.0")), None)
        environment = dict(os.environ, **({"LD_LIBRARY_PATH": str(libraries.parent)} if libraries else {}))
        argv = [self.sshd, "-D", "-f", str(settings), "-p", "22"]
        daemons = [
            subprocess.Popen([*argv, "-o", f"ListenAddress={address(n)}"], env=environment, stdin=subprocess.DEVNULL)
            for n in range(1, count + 1)
        ]
        try:
            time.sleep(2)
            if any(daemon.poll() is not None for daemon in daemons):
                sys.exit("collect.py: an sshd did not start")
            yield
        finally:
            for daemon in daemons:
                daemon.send_signal(signal.SIGTERM)
            for daemon in daemons:
                daemon.wait()

    def inventory(self, count: int) -> Path:
        """An inventory of the first targets."""
        folder = self.folder / f"inventory{count}"
        (folder / "group_vars").mkdir(parents=True)
        (folder / "group_vars" / "all.yml").write_text(SITE, encoding="utf-8")
        key = (self.folder / "host.pub").read_text(encoding="utf-8")
        known = self.folder / "known_hosts"
        known.write_text("".join(f"{address(n)} {key}" for n in range(1, count + 1)), encoding="utf-8")
        options = f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
        every = {
            f"host{n:05}": {
                "ansible_host": address(n),
                "ansible_user": "root",
                "ansible_ssh_private_key_file": str(self.folder / "client"),
                "ansible_ssh_common_args": options,
            }
            for n in range(1, count + 1)
        }
        (folder / "hosts.yml").write_text(json.dumps({"tier1_personal": {"hosts": every}}), encoding="utf-8")
        return folder

    def table(self, counts: Sequence[int]) -> None:
        """Measure each way at each number of hosts."""
        print(
            f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; a host takes ", end=""
        )
        print(f"{self.seconds:g} s.\n")
        print("| Way | Hosts | Wall, s | CPU, s | Peak memory, MiB | Hosts a minute | kB a host on the wire |")
        print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
        for count in counts:
            source = self.inventory(count)
            ways = {
                "clawkeep verify": self.verify(source, self.folder / f"verify{count}"),
                "playbooks/collect.yml": self.play(source, self.folder / f"play{count}"),
            }
            for name, argv in ways.items():
                cost = self.cost(argv, Path(argv[-1].removeprefix("collect_folder=")), count)
                each = f"{60 * count / cost.wall:.0f} | {cost.sent / count / 1000:.0f}"
                print(f"| {name} | {count} | {cost.wall:.1f} | {cost.cpu:.1f} | {cost.peak:.0f} | {each} |", flush=True)
        size = sum(path.stat().st_size for path in (self.folder / f"play{counts[-1]}").rglob("*") if path.is_file())
        print(f"\nOn disk: {size / counts[-1] / 1000:.0f} kB a host.")

    def verify(self, source: Path, bundle: Path) -> list[str]:
        """Collection and one control's judgement: the least that `clawkeep verify` judges."""
        argv = [sys.executable, "-m", "clawkeep.cli", "verify", "-i", str(source), "--inside-only", "--no-turns"]
        return [*argv, "--control", "HST-01", "--save-evidence", str(bundle)]

    def play(self, source: Path, bundle: Path) -> list[str]:
        """The play, with as many forks as `clawkeep verify` asks hosts at once."""
        beside = Path(sys.executable).parent / "ansible-playbook"
        argv = [str(beside), "-i", str(source), str(self.checkout / "playbooks" / "collect.yml"), "--forks", "20", "-e"]
        return [*argv, f"collect_folder={bundle}"]

    def cost(self, argv: list[str], bundle: Path, count: int) -> Cost:
        """Run one command, and tell what it took; ends the program when a host is missing in its bundle."""
        environment = dict(
            os.environ,
            PYTHONPATH=str(self.checkout / "src"),
            ANSIBLE_CONFIG=str(self.checkout / "ansible.cfg"),
            HOME=str(self.folder),
        )
        log = self.folder / "log"
        before, began = received(), time.monotonic()
        with log.open("wb") as file:
            process = subprocess.Popen(argv, env=environment, stdout=file, stderr=file, cwd=self.checkout)
            watch = Watch(process.pid)
            watch.start()
            usage = os.wait4(process.pid, 0)[2]
            watch.done.set()
            watch.join()
        wall = time.monotonic() - began
        manifest = bundle / "manifest.json"
        entries = json.loads(manifest.read_bytes())["hosts"] if manifest.exists() else []
        if sum(entry["reached"] for entry in entries) != count:
            sys.exit(f"collect.py: not every host gave evidence:\n{log.read_text(errors='replace')[-4000:]}")
        return Cost(wall, usage.ru_utime + usage.ru_stime, watch.peak / 1024, received() - before)


class Watch(threading.Thread):
    """The proportional memory (PSS) of a process and all that it started, looked at five times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak, self.done = pid, 0, threading.Event()

    def run(self) -> None:
        """Look until it is done."""
        while not self.done.wait(0.2):
            self.peak = max(self.peak, sum(map(_proportional, _family(self.pid))))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in task.read_text(encoding="ascii").split():
                yield from _family(int(child))


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return 0


def address(number: int) -> str:
    """The address of a target."""
    return f"127.1.{number // 250}.{number % 250 + 1}"


def received() -> int:
    """Bytes that came in by loopback, which is all that either side sent."""
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.strip().startswith("lo:")).split(":")[1].split()[0])


def run(*argv: str) -> None:
    """Run one command of the preparation."""
    subprocess.run(argv, check=True)


if __name__ == "__main__":
    main()
