"""sshd as it decides: its effective settings for the people and places that matter, and what it offers live."""

from __future__ import annotations

import glob
import grp
import ipaddress
import os
import pwd
import re
import shlex
import threading
from typing import Any, Dict, Iterator, List, Tuple

from clawkeep.collector import proc
from clawkeep.collector.recorder import Recorder
from clawkeep_host import files

CONFIG = "/etc/ssh/sshd_config"
TITLE = re.compile(r"^sshd: (?P<argv>.*?)(?: \[listener\].*)?$")
OUTSIDER = "203.0.113.50"  # RFC 5737: stands for any address that is nobody's
UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")
WORKERS = 3
# A login without any method: the daemon refuses and names the methods that it would take.
OFFERS = (
    "ssh",
    "-F",
    "none",
    "-oBatchMode=yes",
    "-oPreferredAuthentications=none",
    "-oStrictHostKeyChecking=no",
    "-oUserKnownHostsFile=/dev/null",
    "-oConnectTimeout=10",
)
# systemd holds the port and starts a daemon for each connection.
BY_SOCKET = {"pid": 1, "exe": "/usr/sbin/sshd", "flags": [], "config": CONFIG, "ports": [22], "addresses": ["0.0.0.0"]}  # noqa: S104 - described, not bound
CRITERIA = {"user": "user", "address": "addr", "localaddress": "laddr", "localport": "lport", "host": "host"}


def collect(rec: Recorder) -> None:
    """Find the daemons, ask each what is in force for whom, and ask the first what it offers over loopback."""
    listening = listeners()
    units = rec.run(
        "sshd-units",
        ["systemctl", "show", "--timestamp=unix", "--property=Id,ActiveState,StateChangeTimestamp", *UNITS],
    )
    if not listening and re.search(r"^ActiveState=active$", units.text, re.M):
        listening = [dict(BY_SOCKET)]
    rec.note("sshd-listeners", listening)
    if not listening:
        rec.note("sshd-specs", [])
        return
    jobs: List[Tuple[str, List[str]]] = []
    specs: List[Dict[str, Any]] = []
    read: List[Dict[str, Any]] = []
    for number, daemon in enumerate(_distinct(listening)):
        if daemon.get("problem"):
            specs.append({"why": "the sshd of process %d" % daemon["pid"], "spec": {}, "problem": daemon["problem"]})
            continue
        lines = list(config_lines(daemon["config"]))
        read += [{"path": path, "changed": os.stat(path).st_mtime} for path in sorted({line[0] for line in lines})]
        for wanted in wanted_specs(rec, lines):
            key = "sshd-T/%d/%d" % (number, len(specs))
            specs.append(dict(wanted, key=key))
            text = ",".join("%s=%s" % item for item in sorted(wanted["spec"].items()))
            jobs.append((key, [daemon["exe"], "-T", *daemon["flags"], "-C", text]))
    rec.note("sshd-files", read)
    rec.note("sshd-specs", specs)
    _in_parallel(rec, jobs)
    if "problem" in listening[0]:
        return
    port = listening[0]["ports"][0]
    # One attempt, not one for each user: sshd remembers who fails, and would soon not talk to loopback any more.
    user = _administrator() or "root"
    target = "%s@%s" % (user, _reachable(listening[0]["addresses"]))
    rec.run("ssh-offers/" + user, [*OFFERS, "-p", str(port), target, "true"], timeout=25)


def _reachable(addresses: List[str]) -> str:
    """An address on which the daemon listens and this host may call it."""
    loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
    return loopback.get(addresses[0], addresses[0])


def _in_parallel(rec: Recorder, jobs: List[Tuple[str, List[str]]]) -> None:
    def work(share: List[Tuple[str, List[str]]]) -> None:
        for key, argv in share:
            rec.run(key, argv, timeout=30)

    threads = [threading.Thread(target=work, args=(jobs[start::WORKERS],)) for start in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def listeners() -> List[Dict[str, Any]]:
    """Every listening sshd: pid, file, the options it was started with that choose its settings, ports.

    One that is not the host's own has a `problem`, and comes last: it is told of, and neither run nor asked.
    """
    bound = {b["inode"]: b for b in proc.bound_sockets() if b["proto"].startswith("tcp")}
    found = []
    for pid in proc.pids():
        exe, _ = proc.executable(pid)
        if os.path.basename(exe) != "sshd":
            continue
        held = [bound[inode] for inode in proc.socket_inodes(pid) if inode in bound]
        if held:
            problem = "" if _is_hosts_own(pid, exe) else "root does not run it from a file that is root's alone"
            flags, config = ([], CONFIG) if problem else options(proc.argv(pid))
            ports = sorted({b["port"] for b in held})
            found.append(
                {
                    "pid": pid,
                    "exe": exe,
                    "flags": flags,
                    "config": config,
                    "ports": ports,
                    "addresses": sorted({b["address"] for b in held}),
                    **({"problem": problem} if problem else {}),
                }
            )
    return sorted(found, key=lambda daemon: ("problem" in daemon, min(daemon["ports"]), daemon["pid"]))


def _is_hosts_own(pid: int, exe: str) -> bool:
    """Whether root runs a program of this host, which may be run once more: anybody's may be called sshd."""
    try:
        here = os.stat("/proc/%d/ns/mnt" % pid).st_ino == os.stat("/proc/1/ns/mnt").st_ino
    except OSError:
        return False
    return here and set(proc.status(pid).get("Uid", "").split()) == {"0"} and files.is_roots_alone(exe)


def options(argv: List[str]) -> Tuple[List[str], str]:
    """The `-f` and `-o` options of a running sshd, which rewrites its command line to `sshd: ARGV [listener] ...`."""
    title = TITLE.match(" ".join(argv))
    words = shlex.split(title.group("argv")) if title else argv
    flags: List[str] = []
    config = CONFIG
    for at, word in enumerate(words[1:], 1):
        following = words[at + 1] if at + 1 < len(words) else ""
        for option in ("-f", "-o"):
            if word == option or (word.startswith(option) and len(word) > 2):
                value = following if word == option else word[2:]
                flags += [option, value]
                config = value if option == "-f" else config
    return flags, config


def _distinct(listening: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    known = {(daemon.get("problem"), daemon["exe"], *daemon["flags"]): daemon for daemon in reversed(listening)}
    return list(reversed(list(known.values())))


def config_lines(path: str, depth: int = 0) -> Iterator[Tuple[str, str]]:
    """File and text of every setting line, Include files in their place."""
    for line in (proc.read(path) or "").splitlines():
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        yield path, text
        words = re.split(r"[\s=]+", text)
        if words[0].lower() == "include" and depth < 8:
            for pattern in words[1:]:
                base = pattern if pattern.startswith("/") else "/etc/ssh/" + pattern
                for included in sorted(glob.glob(base)):
                    yield from config_lines(included, depth + 1)


def wanted_specs(rec: Recorder, lines: List[Tuple[str, str]]) -> List[Dict[str, Any]]:
    """The connections to ask about: root, an administrator and the agent from a stranger's address, and one for each
    Match block, made to match it. `problem` names a block for which no such connection could be made up.
    """
    people = ["root", _administrator(), _agent(rec)]
    users = list(dict.fromkeys(filter(None, people)))
    plain: List[Dict[str, Any]] = [{"why": "anyone", "spec": _spec(user, OUTSIDER)} for user in users]
    blocks = [text for _, text in lines if re.match(r"match[\s=]", text, re.I)]
    networks = rec.parameters.get("site", {}).get("admin_networks") or []
    if blocks and networks:
        inside = str(next(iter(ipaddress.ip_network(networks[0]).hosts())))
        plain += [{"why": "from an admin network", "spec": _spec(user, inside)} for user in users]
    found = list(plain)
    for text in dict.fromkeys(blocks):
        for user in dict.fromkeys(filter(None, people[:2])):
            spec, problem = matching(text, user)
            found.append(dict({"why": text, "spec": spec}, **({"problem": problem} if problem else {})))
    unique = {str(sorted(spec["spec"].items())) + spec.get("problem", ""): spec for spec in reversed(found)}
    return list(reversed(list(unique.values())))


def _spec(user: str, address: str) -> Dict[str, str]:
    return {"user": user, "addr": address, "host": "stranger.invalid"}


def matching(text: str, user: str) -> Tuple[Dict[str, str], str]:
    """A connection that a `Match` line applies to, and what of the line could not be translated."""
    spec = _spec(user, OUTSIDER)
    problem = ""
    words = shlex.split(text.split("#")[0])[1:]
    pairs = [part for word in words for part in word.split("=", 1)]
    while pairs:
        criterion = pairs.pop(0).lower()
        if criterion == "all":
            continue
        value = pairs.pop(0) if pairs else ""
        pattern = next((item for item in value.split(",") if item and not item.startswith("!")), "")
        if criterion == "group":
            member = _member(pattern)
            spec["user"] = member or spec["user"]
            problem = problem or ("" if member else "no account is in the group %s" % pattern)
        elif criterion in CRITERIA and pattern:
            spec[CRITERIA[criterion]] = _instance(criterion, pattern)
        else:
            problem = problem or "Clawkeep does not know the criterion %s" % criterion
    return spec, problem


def _instance(criterion: str, pattern: str) -> str:
    if criterion in ("address", "localaddress") and "/" in pattern:
        return str(next(iter(ipaddress.ip_network(pattern, strict=False).hosts())))
    return pattern.replace("*", "x").replace("?", "x")


def _member(group: str) -> str:
    try:
        known = grp.getgrnam(group.replace("*", ""))
    except KeyError:
        return ""
    primary = [user.pw_name for user in pwd.getpwall() if user.pw_gid == known.gr_gid]
    return (list(known.gr_mem) + primary + [""])[0]


def _administrator() -> str:
    """Whoever came over ssh to run this, else the first account that can use sudo or admin groups."""
    for pid in proc.ancestry(os.getpid()):
        login = proc.read("/proc/%d/loginuid" % pid)
        if login and login.strip() not in ("4294967295", "0"):
            try:
                return pwd.getpwuid(int(login)).pw_name
            except KeyError:
                break
    return _member("sudo") or _member("wheel")


def _agent(rec: Recorder) -> str:
    try:
        return pwd.getpwuid(int(rec.parameters.get("tier", {}).get("openclaw_uid", 1000))).pw_name
    except KeyError:
        return ""
