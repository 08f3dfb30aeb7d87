"""How the host records and sends: audit rules, files, the log agent, and one mark per source sent on its way.

A mark is a random word that is emitted once through each source. What arrived of it is asked at the log store, by its
own vantage (clawkeep.measure.probes.siem); here it is only sent, with the time.
"""

from __future__ import annotations

import base64
import glob
import hashlib
import os
import secrets
import socket
import ssl
import stat
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from clawkeep.collector import docker, others, proc
from clawkeep.collector.recorder import Recorder, short
from clawkeep_host import files
from clawkeep_host.addresses import AGENT_BRIDGE, AGENT_GATEWAYS, FIRST_AGENT, NAME_SERVER_PORT, PROXY_PORT

CONFIG = "/etc/clawkeep/log/rsyslog.conf"
TLS = "/etc/clawkeep/log/tls"
SPOOL = "/var/spool/clawkeep-log"
VOLUMES = "/var/lib/docker/volumes"
AUDIT_LOG = "/var/log/audit/audit.log"
AUDIT_SECONDS = 10.0
KERNEL_LOG = "/dev/kmsg"
PROXY_LOG = "/var/log/clawkeep/proxy/access.log"
PROXY_SECONDS = 15.0
PROXY = "http://%s:%d" % (AGENT_GATEWAYS[0], PROXY_PORT)
NOBODY = 65534
EVERYBODYS = "/etc/passwd"
MOST_FILES = 400
UNITS = ("clawkeep-log.service", "clawkeep-log-journal.service", "clawkeep-log-openclaw.service", "auditd.service")
PLACES = (
    *("/etc", "/etc/passwd", "/etc/shadow", "/etc/group", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/docker"),
    *(
        "/usr/bin/docker",
        "/usr/sbin/dockerd",
        "/usr/bin/containerd",
        "/usr/sbin/runc",
        "/etc/clawkeep",
        "/usr/local/sbin",
        "/usr/local/lib/clawkeep",
    ),
    *("/etc/systemd", "/etc/audit", "/root", "/run/docker.sock", VOLUMES),
)
PRIVATE = (
    *("/var/log/audit", "/var/log/audit/*", SPOOL, SPOOL + "/*", SPOOL + "/journal/*", TLS, TLS + "/*", CONFIG),
    *("/var/log/journal/*", "/var/log/journal/*/*.journal", "/var/log/clawkeep/*/*.log*", "/var/log/nginx/*.log*"),
    "/var/lib/docker/containers/*/*-json.log*",
)
AGENTS_OWN = VOLUMES + "/openclaw-state/_data/logs"


def collect(rec: Recorder) -> None:
    """Read how logging is set, then try it: changes of a file by agent and root, a mark through every source."""
    tier = rec.parameters.get("tier", {})
    rec.run("journald-config", ["systemd-analyze", "cat-config", "systemd/journald.conf"])
    found = [seen for pattern in PRIVATE for path in sorted(glob.glob(pattern)) for seen in [proc.entry(path)] if seen]
    found += agents_own()
    rec.note("log-files", found)
    rec.note("log-readers", readers(rec, found))
    audit(rec)
    if tier.get("log_agent_remote", "none") != "none":
        sending(rec)


def agents_own(folder: str = AGENTS_OWN) -> List[Dict[str, Any]]:
    """The log files in the agent's own volume, as far as MOST_FILES: links are links here, and no folder is entered."""
    walk = files.Walk(folder, entries=MOST_FILES, depth=1)
    try:
        below = [(entry, proc.acl(entry.handle)) for entry in walk if entry.path != "."]
    except OSError:
        return []
    return [proc.described("%s/%s" % (folder, proc.shown(entry.path)), entry.status, acl) for entry, acl in below]


def readers(rec: Recorder, found: List[Dict[str, Any]]) -> Dict[str, Any]:
    """What nobody's account gets of each log file, and when it was last written, in seconds before now.

    `{"control": what it gets of a file that everybody may read, "files": {path: {"nobody": ..., "age": seconds}}}`.
    """
    plain = [one for one in found if one["kind"] == "file"][:MOST_FILES]
    wishes = [{"uid": NOBODY, "do": "read", "path": path} for path in (EVERYBODYS, *(one["path"] for one in plain))]
    control, *said = others.ask(rec, wishes)
    now = time.time()
    seen = {one["path"]: {"nobody": said[n], "age": int(now - one["changed"])} for n, one in enumerate(plain)}
    return {"control": control, "files": seen, "left": len(found) > MOST_FILES}


def audit(rec: Recorder) -> None:
    """The kernel's rules, and what became of a file in the agent's workspace."""
    rec.run("auditctl-rules", ["auditctl", "-l"])
    rec.run("auditctl-state", ["auditctl", "-s"])
    rec.note("audit-places", {path: kind(path) for path in PLACES})
    rec.note("audit-canary", canary(rec))


def sending(rec: Recorder) -> None:
    """The log agent, and what it sends."""
    rec.run("log-units", ["systemctl", "show", "--property=Id,ActiveState,UnitFileState,ExecStart", "--", *UNITS])
    rec.run("log-agent-check", ["/usr/sbin/rsyslogd", "-N1", "-f", CONFIG], timeout=60)
    rec.note("log-agent-config", (proc.read(CONFIG) or "").splitlines())
    rec.note("log-agent-queue", (proc.read(SPOOL + "/queue.json") or "").splitlines()[-12:])
    rec.note("log-secret", proxied_secret(rec))
    rec.note("log-marks", marks(rec))
    rec.note("log-store-attempts", attempts(rec))


def pid_of(container: Dict[str, Any]) -> int:
    """The container's first process on the host; 0 when it has none."""
    return int((container.get("State") or {}).get("Pid") or 0)


def kind(path: str) -> str:
    """`directory`, `other`, or `absent`."""
    return "directory" if os.path.isdir(path) else "other" if os.path.exists(path) else "absent"


# --- what the kernel records -------------------------------------------------------------------------------------


def canary(rec: Recorder) -> Dict[str, Any]:
    """Make, change, rename and remove a file in the agent's workspace, as agent and as root; what was recorded of it.

    `{"agent": {"nonce", "tried": why it could not be | "", "names": {name: [uids]}}, "root": the same}`.
    """
    uid = int(rec.parameters.get("tier", {}).get("openclaw_uid", 1000))
    pid = next((pid_of(one) for one in docker.agents(rec)), 0)
    inside = ("/proc/%d/root" % pid, "/home/node/.openclaw/workspace")
    outside = ("/", VOLUMES + "/openclaw-workspace/_data")
    found = {}
    for who, (root, folder), number in (("agent", inside, uid), ("root", outside, 0)):
        nonce = secrets.token_hex(8)
        began = os.path.getsize(AUDIT_LOG) if os.path.isfile(AUDIT_LOG) else 0
        tried = touch(root, folder, nonce, number)
        found[who] = {"nonce": nonce, "tried": tried, "uid": number, "names": {} if tried else recorded(nonce, began)}
    return found


# Makes a folder of its own first, and works in there: what it has made nobody else can exchange before it is opened
# again, for the folder around it belongs to the agent. Its name holds nothing of the nonce, so that it is no step.
TOUCH = """
import os, sys
around, nonce, uid, own = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
made, moved = "clawkeep-" + nonce + ".made", "clawkeep-" + nonce + ".moved"
os.mkdir(own, 0o700, dir_fd=around)
folder = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=around)
try:
    status = os.fstat(folder)
    if status.st_uid != uid or status.st_mode & 0o777 != 0o700:
        sys.exit("the folder is no longer the one that was made")
    first = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    again = os.open(made, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    if not os.path.samestat(os.fstat(first), os.fstat(again)):
        sys.exit("the file is no longer the one that was made")
    os.write(again, b"x")
    os.rename(made, moved, src_dir_fd=folder, dst_dir_fd=folder)
    os.unlink(moved, dir_fd=folder)
finally:
    for name in set(os.listdir(folder)) & {made, moved}:
        os.unlink(name, dir_fd=folder)
    os.rmdir(own, dir_fd=around)
"""


def touch(root: str, folder: str, nonce: str, uid: int) -> str:
    """Make, change, rename and remove `clawkeep-NONCE` in `folder` as the account; why not, or empty.

    In a process of its own; `folder` is found below `root` without a link of the agent's.
    """
    try:
        around = files.pin_beneath(root, folder)
    except OSError as problem:
        return "%s cannot be entered: %s" % (folder, problem.strerror)
    words = ["-c", TOUCH, str(around), nonce, str(uid), ".clawkeep-" + secrets.token_hex(8)]
    argv = [sys.executable or "python3", "-I", "-S", *words]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, pass_fds=[around])
    except (OSError, subprocess.TimeoutExpired) as problem:
        return short(str(problem), 200)
    finally:
        os.close(around)
    return (
        ""
        if done.returncode == 0
        else short((done.stderr.strip().splitlines() or ["it ended without a word"])[-1], 200)
    )


def recorded(nonce: str, began: int) -> Dict[str, List[Any]]:
    """Which steps the audit log tells of within its time: `made`, `changed`, `moved`, `removed`, each with the uids."""
    limit = time.monotonic() + AUDIT_SECONDS
    found: Dict[str, List[Any]] = {}
    while time.monotonic() < limit and len(found) < 4:
        found = steps(tail(began), nonce)
        if len(found) < 4:
            time.sleep(0.5)
    return found


def tail(began: int, path: str = AUDIT_LOG) -> str:
    """What was added to a log since it had `began` bytes; the whole when it was begun anew meanwhile."""
    try:
        with open(path, "rb") as file:  # of root's, or of the proxy's account: no agent writes here
            size = os.fstat(file.fileno()).st_size
            file.seek(began if began <= size else 0)
            return file.read(8_000_000).decode("utf-8", "replace")
    except OSError:
        return ""


def steps(text: str, nonce: str) -> Dict[str, List[Any]]:
    """The steps of one file's life that records speak of. An event is all lines with one serial number."""
    events: Dict[str, List[str]] = {}
    for line in text.splitlines():
        serial = line.partition("audit(")[2].partition(")")[0]
        if serial:
            events.setdefault(serial, []).append(line)
    found: Dict[str, List[Any]] = {}
    for lines in events.values():
        paths = [line for line in lines if "type=PATH" in line and nonce in line]
        call = next((line for line in lines if "type=SYSCALL" in line), "")
        if not paths or not call:
            continue
        types = {line.partition("nametype=")[2].split(" ")[0] for line in paths}
        renamed = any(".made" in line for line in paths) and any(".moved" in line for line in paths)
        step = "moved" if renamed else "made" if "CREATE" in types else "removed" if "DELETE" in types else "changed"
        uid = call.partition(" uid=")[2].split(" ")[0]
        if uid not in found.setdefault(step, []):
            found[step].append(uid)
    return found


# --- what is sent on its way ---------------------------------------------------------------------------------------


def marks(rec: Recorder) -> Dict[str, Any]:
    """Emit one mark per source: `{source: {"mark", "at": seconds since the epoch, "tried": why not | ""}}`."""
    senders: Dict[str, Callable[[str], str]] = {
        "journal": lambda word: say(["logger", "-t", "clawkeep-mark", word]),
        "auth": lambda word: say(["logger", "-p", "authpriv.notice", "-t", "sudo", word]),
        "audit": lambda word: say(["auditctl", "-m", word]),
        "kernel": lambda word: kmsg("clawkeep-mark " + word),
        "firewall": lambda word: kmsg(
            # To an address of its own each time: what repeats within minutes is told once.
            "clawkeep-forward mark=%s IN=%s SRC=%s DST=2001:db8:%s:%s::1 PROTO=TCP DPT=9"
            % (word, AGENT_BRIDGE, FIRST_AGENT, word[-8:-4], word[-4:])
        ),
        "resolver": lambda word: inside(rec, ask(word + ".mark.invalid")),
        "proxy": lambda word: inside(rec, ["curl", "-sS", "-m", "10", "-x", PROXY, "http://%s.mark.invalid/" % word]),
        "openclaw": lambda word: openclaw(rec, word),
        "secret": lambda word: say(["logger", "-t", "clawkeep-mark", secret_line(word)]),
        "system": lambda word: refused(int(rec.parameters.get("tier", {}).get("openclaw_uid", 1000)), "/root/" + word),
    }
    found = {}
    for source, send in senders.items():
        word = "ckmark" + secrets.token_hex(10)
        found[source] = {"mark": word, "at": time.time(), "tried": send(word)}
    return found


def ask(name: str) -> List[str]:
    """The command that asks the agents' name server: in a container's network nothing else of it is seen."""
    program = (
        "import socket,sys; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5);"
        "q=b''.join(bytes((len(x),))+x.encode() for x in sys.argv[1].split('.'))+b'\\0';"
        "s.sendto(b'\\x4d\\x4b\\1\\0\\0\\1'+bytes(6)+q+b'\\0\\1\\0\\1',(sys.argv[2],int(sys.argv[3]))); s.recv(512)"
    )
    return [sys.executable or "python3", "-I", "-S", "-c", program, name, AGENT_GATEWAYS[0], str(NAME_SERVER_PORT)]


def canary_of(word: str) -> str:
    """The dummy secret that goes with a mark: whoever knows the mark can look for it, and evidence need not hold it."""
    return "clawkeep-canary-" + hashlib.sha256(word.encode()).hexdigest()[:32]


def secret_line(word: str) -> str:
    """A line with the mark and its dummy secret: in a header, in a field, and in base64."""
    dummy = canary_of(word)
    hidden = base64.b64encode(("token=" + dummy).encode()).decode()
    return "%s Authorization: Bearer %s api_key=%s %s" % (word, dummy, dummy, hidden)


def proxied_secret(rec: Recorder) -> Dict[str, Any]:
    """Ask the proxy for an address with a dummy secret in it: whether its log tells of the request, and the secret."""
    word = "ckmark" + secrets.token_hex(10)
    url = "http://%s.mark.invalid/?api_key=%s" % (word, canary_of(word))
    began = os.path.getsize(PROXY_LOG) if os.path.isfile(PROXY_LOG) else 0
    tried = inside(rec, ["curl", "-sS", "-m", "10", "-o", "/dev/null", "-x", PROXY, url])
    limit = time.monotonic() + PROXY_SECONDS
    lines: List[str] = []
    while not tried and not lines and time.monotonic() < limit:
        lines = [line for line in tail(began, PROXY_LOG).splitlines() if word in line]
        if not lines:
            time.sleep(0.5)
    return {"tried": tried, "told": bool(lines), "leaked": any(canary_of(word) in line for line in lines)}


def say(argv: List[str]) -> str:
    """Run a command; why it failed, or empty."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return short(str(problem), 200)
    return (
        ""
        if done.returncode == 0
        else short((done.stderr.strip().splitlines() or ["status %d" % done.returncode])[-1], 200)
    )


def refused(uid: int, path: str) -> str:
    """Open a file as the account, which must be refused; why it was not, or empty."""
    program = (
        "import os,sys; u=int(sys.argv[1]); os.setgroups([]); os.setresgid(u,u,u); os.setresuid(u,u,u)\n"
        "try: os.open(sys.argv[2], os.O_RDONLY)\nexcept PermissionError: sys.exit(0)\nexcept OSError: sys.exit(3)\nsys.exit(4)"  # noqa: E501
    )
    argv = [sys.executable or "python3", "-I", "-S", "-c", program, str(uid), path]
    try:
        done = subprocess.run(argv, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return short(str(problem), 200)
    return "" if done.returncode == 0 else "it was not refused for want of permission (status %d)" % done.returncode


def kmsg(text: str) -> str:
    """Have the kernel's log say something; why it did not, or empty."""
    try:
        with open(KERNEL_LOG, "w", encoding="ascii") as file:
            file.write("<5>" + text + "\n")  # without its end, a record is not shown before the next one comes
    except OSError as problem:
        return problem.strerror or "it cannot be written"
    return ""


def inside(rec: Recorder, argv: List[str]) -> str:
    """Run a command in the agent's network; empty when it could be run, for it is meant to be refused."""
    pid = next((pid_of(one) for one in docker.agents(rec)), 0)
    if not pid:
        return "no agent's container runs"
    try:
        subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return short(str(problem), 200)
    return ""


def openclaw(rec: Recorder, word: str) -> str:
    """Have the gateway's process say the word on its own output, which only the engine can write down."""
    pid = next((pid_of(one) for one in docker.agents(rec)), 0)
    return written("/proc/%d/fd/1" % pid, '{"message":"clawkeep-mark %s"}\n' % word)


def written(output: str, line: str) -> str:
    """Write a line to a process's output; why it was not, or empty.

    The process chooses what that is. Only a pipe is written to, as the engine gives it: a file would be changed, a
    device may do anything. Nobody is waited for.
    """
    try:
        pinned = os.open(output, os.O_PATH | os.O_CLOEXEC)
        try:
            if not stat.S_ISFIFO(os.fstat(pinned).st_mode):
                return "the gateway's output is no pipe of the engine's"
            pipe = os.open("/proc/self/fd/%d" % pinned, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(pinned)
        try:
            os.write(pipe, line.encode("ascii"))
        finally:
            os.close(pipe)
    except OSError as problem:
        return "the gateway's output cannot be written: %s" % problem.strerror
    return ""


# --- what the host's credential may do at the store -----------------------------------------------------------------


def attempts(rec: Recorder) -> Dict[str, Any]:
    """Append with the host's own credential, then try what must not work; the store's side tells what came of it."""
    where = str(rec.parameters.get("site", {}).get("log_collector") or "")
    name = str(rec.parameters.get("site", {}).get("log_collector_name") or "")
    host, _, port = where.rpartition(":")
    if not host or not name:
        return {"problem": "the site names no log store"}
    host, number = host.strip("[]"), int(port)
    word = "ckmark" + secrets.token_hex(10)
    first = '{"schema":1,"id":"%s","source":"attempt","message":"first %s"}' % (word, word)
    again = '{"schema":1,"id":"%s","source":"attempt","message":"again %s"}' % (word, word)
    past = '{"schema":1,"id":"%s-past","time":"2001-01-01T00:00:00+00:00","source":"attempt","message":"past %s"}' % (
        word,
        word,
    )
    found: Dict[str, Any] = {"mark": word, "at": time.time()}
    own = lambda: context(TLS + "/host.pem", TLS + "/host.key")  # noqa: E731
    found["append"] = converse(host, number, name, own, [("syslog", first), ("syslog", again), ("syslog", past)])
    for verb in ("delete", "truncate", "overwrite"):
        found[verb] = converse(host, number, name, own, [(verb, word)])
    found["no_certificate"] = converse(host, number, name, lambda: context(None, None), [("syslog", first)])
    found["plain"] = converse(host, number, name, None, [("syslog", first)])
    found["wrong_name"] = converse(host, number, "not-" + name, own, [])
    return found


def context(certificate: Optional[str], key: Optional[str]) -> ssl.SSLContext:
    """TLS as the log agent uses it, with a credential or without."""
    made = ssl.create_default_context(cafile=TLS + "/ca.pem")
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        made.load_cert_chain(certificate, key)
    return made


def converse(host: str, port: int, name: str, tls: Optional[Callable[[], ssl.SSLContext]], commands: List[Any]) -> str:
    """Speak RELP: open, then the commands. `taken` when each was answered 200, else the first other answer."""
    try:
        with socket.create_connection((host, port), timeout=15) as raw:
            wire = tls().wrap_socket(raw, server_hostname=name) if tls else raw
            offer = "relp_version=0\nrelp_software=clawkeep\ncommands=syslog"
            for number, (command, data) in enumerate([("open", offer), *commands], 1):
                wire.sendall(("%d %s %d %s\n" % (number, command, len(data), data)).encode())
                answer = wire.recv(4096).decode("ascii", "replace")
                if " rsp " not in answer or " 200 " not in answer:
                    return "refused: %s" % (short(answer.strip(), 80) or "the connection was closed")
            return "taken"
    except ssl.SSLError as problem:
        return "refused: %s" % problem.reason
    except OSError as problem:
        return "refused: %s" % (problem.strerror or problem)
