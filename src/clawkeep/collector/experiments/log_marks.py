"""One mark for each source of records, sent on its way, and what the host's credential may do at the store.

A mark is a random word that is emitted once through each source. What arrived of it is asked at the log store, by its
own vantage (clawkeep.measure.probes.siem); here it is only sent, with the time. Standard library only.
"""

from __future__ import annotations

import base64
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

from clawkeep.collector import docker
from clawkeep.collector.experiments.audit_canary import tail
from clawkeep.collector.recorder import Recorder, short
from clawkeep_host.addresses import AGENT_BRIDGE, AGENT_GATEWAYS, FIRST_AGENT, NAME_SERVER_PORT, PROXY_PORT

TLS = "/etc/clawkeep/log/tls"
KERNEL_LOG = "/dev/kmsg"
PROXY_LOG = "/var/log/clawkeep/proxy/access.log"
PROXY_SECONDS = 15.0
PROXY = "http://%s:%d" % (AGENT_GATEWAYS[0], PROXY_PORT)


def collect(rec: Recorder) -> None:
    """Send the marks and try the store, where the tier sends records to one."""
    if rec.parameters.get("tier", {}).get("log_agent_remote", "none") == "none":
        return
    rec.note("log-secret", proxied_secret(rec))
    rec.note("log-marks", marks(rec))
    rec.note("log-store-attempts", attempts(rec))


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
    pid = docker.agent_pid(rec)
    if not pid:
        return "no agent's container runs"
    try:
        subprocess.run(["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return short(str(problem), 200)
    return ""


def openclaw(rec: Recorder, word: str) -> str:
    """Have the gateway's process say the word on its own output, which only the engine can write down."""
    pid = docker.agent_pid(rec)
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
