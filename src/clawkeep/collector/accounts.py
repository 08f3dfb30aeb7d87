"""The host's accounts and what runs, or could be started, under the agent's one."""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import shutil
import sys
import threading
from typing import Any, Dict, List, Optional, Set

from clawkeep.collector import docker, proc
from clawkeep.collector.recorder import Recorder, short
from clawkeep_host import files

UNIT_FOLDERS = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
)
CRON_FILES = (
    "/etc/crontab",
    "/etc/cron.d/*",
    "/etc/cron.*ly/*",
    "/var/spool/cron/crontabs/*",
    "/var/spool/cron/atjobs/*",
)
CONFINEMENT = (
    "Id,NoNewPrivileges,ProtectSystem,ProtectHome,ReadWritePaths,MemoryDenyWriteExecute,RestartPreventExitStatus"
)
FORBIDDEN = (
    "/etc",
    "/etc/systemd/system",
    "/etc/cron.d",
    "/etc/clawkeep",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/root",
)
BECOMES = r"\b(?:runuser|setpriv|su|sudo|chpst|setuidgid|capsh|start-stop-daemon)\b"
STARTS = re.compile(
    r"\b(?:docker|podman|nerdctl)\b[^\n;|&]*\b(?:start|restart|unpause|run|create|up)\b"
    r"|\bcompose\b[^\n;|&]*\bup\b|openclaw\.mjs|clawkeep-kill release|clawkeep-release (?:start|apply|rollback)"
)
OWN_TOOLS = "/usr/local/sbin/clawkeep-"
SCRIPT_LIMIT = 65_536
# The cgroup of a container; a process cannot leave its cgroup without being root, a namespace it can. Below one that
# was handed to an account, that account makes cgroups of any name: they belong to it, an engine's belongs to root.
CONTAINER = re.compile(r"/(?:docker-|docker/|libpod-)[0-9a-f]{64}[^/]*")
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
MOST_UNITS = 5000  # entries of one folder of user units


def collect(rec: Recorder) -> None:
    """Read the account files, look for units, timers and tables that concern the agent, and try what it can do."""
    uid = int(rec.parameters.get("tier", {}).get("openclaw_uid", 1000))
    names = [user.pw_name for user in pwd.getpwall() if user.pw_uid == uid]
    rec.note("accounts", accounts())
    rec.note("agent-processes", processes(uid))
    experiments = threading.Thread(target=_experiments, args=(rec, uid))
    experiments.start()
    rec.note("lingering", sorted(os.path.basename(path) for path in glob.glob("/var/lib/systemd/linger/*")))
    rec.note("user-units", user_units(uid))
    rec.note("sudo-present", shutil.which("sudo", path="/usr/bin:/usr/local/bin:/bin") is not None)
    if names:
        rec.run("sudo-list", ["sudo", "-n", "-l", "-U", names[0]])
    texts = unit_texts()
    rec.note("revivers", revivers(texts))
    units = sorted(running_units(uid) | {name for name, text in texts.items() if _runs_as(text, uid, names)})
    rec.note("agent-units", units)
    if units:
        shown = [re.sub(r"@\.service$", "@clawkeep.service", unit) for unit in units]
        rec.run("agent-unit-properties", ["systemctl", "show", "--property=" + CONFINEMENT, "--", *shown])
    experiments.join()


def accounts() -> List[Dict[str, Any]]:
    """Every account with its groups and the state of its password: locked, empty, none or set; never the hash."""
    groups: Dict[str, List[str]] = {}
    names = {g.gr_gid: g.gr_name for g in grp.getgrall()}
    for known in grp.getgrall():
        for member in known.gr_mem:
            groups.setdefault(member, []).append(known.gr_name)
    passwords = {}
    for line in (proc.read("/etc/shadow") or "").splitlines():
        name, _, rest = line.partition(":")
        passwords[name] = _state(rest.split(":")[0])
    return [
        {
            "name": user.pw_name,
            "uid": user.pw_uid,
            "gid": user.pw_gid,
            "group": names.get(user.pw_gid, ""),
            "groups": sorted(groups.get(user.pw_name, [])),
            "home": user.pw_dir,
            "shell": user.pw_shell,
            "login": passwords.get(user.pw_name, "unknown"),
        }
        for user in pwd.getpwall()
    ]


def _state(field: str) -> str:
    if field == "":
        return "empty"
    if field.startswith("!"):
        return "locked"
    return "none" if field == "*" else "set"


def _ours(pid: int) -> bool:
    return pid == os.getpid() or os.getpid() in proc.ancestry(pid)


def processes(uid: int) -> List[Dict[str, Any]]:
    """Processes of the agent's uid but the collector's own: pid, name, cgroup, NoNewPrivs, whether in a container."""
    found = []
    for pid in proc.pids():
        status = proc.status(pid)
        if str(uid) in status.get("Uid", "").split() and not _ours(pid):
            found.append(
                {
                    "pid": pid,
                    "name": status.get("Name", ""),
                    "cgroup": proc.cgroup(pid),
                    "contained": is_contained(proc.cgroup(pid)),
                    "no-new-privs": status.get("NoNewPrivs") == "1",
                }
            )
    return sorted(found, key=lambda process: process["pid"])


def is_contained(cgroup: str) -> bool:
    """Whether a cgroup is that of a container, or lies in one, and root made it."""
    found = CONTAINER.search(cgroup)
    for root in CGROUPS if found else ():
        try:
            return os.stat(root + cgroup[: found.end() if found else 0]).st_uid == 0
        except OSError:
            continue
    return False


def running_units(uid: int) -> "set[str]":
    """Services of the system manager in whose cgroup a process of the agent's uid runs, Docker's scopes left out."""
    found = set()
    for process in processes(uid):
        service = re.match(r"/system\.slice/(?:[^/]+\.slice/)*([^/]+\.service)", process["cgroup"])
        if service and service.group(1) not in ("docker.service", "containerd.service"):
            found.add(service.group(1))
    return found


def unit_texts() -> Dict[str, str]:
    """The text of every service of the system manager, its drop-ins and the first script it starts, by unit name."""
    texts: Dict[str, List[str]] = {}
    for folder in UNIT_FOLDERS:
        for path in glob.glob(folder + "/*.service") + glob.glob(folder + "/*.service.d/*.conf"):
            unit = os.path.basename(path if path.endswith(".service") else os.path.dirname(path)[:-2])
            texts.setdefault(unit, []).append(proc.read(path) or "")
    return {unit: "\n".join(parts) for unit, parts in texts.items()}


def _runs_as(text: str, uid: int, names: List[str]) -> bool:
    who = "(?:%s)" % "|".join(re.escape(name) for name in [str(uid), *names])
    return bool(
        re.search(r"^\s*User\s*=\s*\"?%s\"?\s*$" % who, text, re.M)
        or re.search(r"^\s*Exec\w*\s*=.*%s.*\b%s\b" % (BECOMES, who), text, re.M)
    )


def user_units(uid: int) -> List[str]:
    """What lies in the folders of user units of the agent's accounts; of a folder that cannot be read, its own path."""
    found = set()
    for user in pwd.getpwall():
        if user.pw_uid == uid and user.pw_dir not in ("", "/"):
            for folder in (".config/systemd/user", ".local/share/systemd/user"):
                found |= units_below(os.path.join(user.pw_dir, folder))
    return sorted(found)


def units_below(folder: str) -> Set[str]:
    """Every file and link below a folder that the agent owns; the folder itself when it was not read to its end."""
    try:
        pinned = files.pin_beneath("/", folder)
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError:  # a link: whatever is behind it, the account has put it there
        return {folder}
    try:
        walk = files.Walk("/proc/self/fd/%d/." % pinned, entries=MOST_UNITS)
        found = {os.path.join(folder, proc.shown(entry.path)) for entry in walk if not entry.is_folder}
        return found if walk.complete else found | {folder}
    except OSError:
        return {folder}
    finally:
        os.close(pinned)


def revivers(texts: Dict[str, str]) -> List[Dict[str, Any]]:
    """Services and time tables that start containers or the agent: where it is written, the words that do it, and the
    files whose presence keeps a service from starting (`ConditionPathExists=!PATH`).
    """
    found = []
    for unit, text in sorted(texts.items()):
        for line in re.findall(r"^\s*Exec(?:Start|StartPre|StartPost|Reload|Stop|StopPost)\s*=(.*)$", text, re.M):
            words = _starts(line)
            if words:
                found.append({"where": unit, "line": short(line.strip(), 300), "words": words, "gates": _gates(text)})
    for pattern in CRON_FILES:
        for path in sorted(glob.glob(pattern)):
            if os.path.isfile(path):
                for line in (proc.read(path, SCRIPT_LIMIT) or "").splitlines():
                    words = None if line.lstrip().startswith("#") else _starts(line)
                    if words:
                        found.append({"where": path, "line": short(line.strip(), 300), "words": words, "gates": []})
    return found


def _gates(text: str) -> List[str]:
    gates: List[str] = []
    for value in re.findall(r"^\s*ConditionPathExists\s*=[ \t]*(.*)$", text, re.M):
        if not value:
            gates = []  # an empty value in a drop-in takes every condition away
        elif value.startswith("!"):
            gates.append(value[1:])
    return gates


def _starts(line: str) -> Optional[str]:
    """The words of a command line, or of a script that it runs, that start a container."""
    direct = STARTS.search(line)
    if direct:
        return direct.group(0)
    for word in re.findall(r"(?<![\w=])/[\w./-]+", line):
        ours = word.startswith(OWN_TOOLS)  # what they start stands in their arguments, matched above
        text = proc.read(word, SCRIPT_LIMIT) if os.path.isfile(word) and not ours else None
        if text and text.startswith("#!"):
            for inner in text.splitlines():
                seen = None if inner.lstrip().startswith("#") else STARTS.search(inner)
                if seen:
                    return "%s: %s" % (word, _command(inner, seen))
    return None


def _command(line: str, seen: "re.Match[str]") -> str:
    """The whole simple command that was seen in a line: what it starts stands behind its verb."""
    return short(re.split(r"[;|&]", line[seen.start() :])[0].strip(), 300)


def _state_folder(rec: Recorder) -> str:
    """The agent's state as its own process sees it, or the volume that holds it; empty when there is neither."""
    for one in docker.agents(rec):
        root, place = "/proc/%d/root" % one["State"]["Pid"], "/home/node/.openclaw"
        try:
            os.close(files.pin_beneath(root, place))
        except OSError:
            continue
        return root + place
    volume = "/var/lib/docker/volumes/openclaw-state/_data"
    return volume if os.path.isdir(volume) else ""


def _experiments(rec: Recorder, uid: int) -> None:
    from clawkeep.collector.experiments import account

    source = account.__loader__.get_source(account.__name__)  # type: ignore[union-attr]
    folders = [folder for folder in FORBIDDEN if os.path.isdir(folder)]
    argv = [sys.executable or "python3", "-I", "-S", "-", str(uid), "/run/docker.sock", _state_folder(rec), *folders]
    rec.run("agent-experiments", argv, stdin=source, parse="json", timeout=60)
