# ruff: noqa: S105, E501
"""The front door on this machine: real nginx and the real gate from rendered templates, in a network namespace.

The gateway is a stand-in that counts what reaches it and shows the headers. A second namespace is the VPN's peers.
Nothing of the machine's own nginx, accounts or settings is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from clawkeep.lab.world import pki
from clawkeep_host import package

NAME = "agent.team.example"
ADDRESSES = ("10.78.0.1", "fd5e:c1a0:78::1")
PEERS = ("10.78.0.60", "10.78.0.61", *(f"fd5e:c1a0:78::{number}" for number in (60, 61, 62, 63)))
STRANGERS = ("2001:db8:60::1", "2001:db8:60::2", "2001:db8:61::1")  # no peers; the first two share a /64
UNPRIVILEGED = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--groups", "www-data", "--no-new-privs")
PASSWORD = "violet tractor hums 47 lullabies"  # of a made-up user in a made-up place

# Counts what reaches it, echoes the request's headers, and accepts WebSockets, which it holds open.
UPSTREAM = """
import http.server, json, sys
count = 0
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def serve(self):
        global count
        if self.path == "/__count":
            body = str(count).encode()
        else:
            count += 1
            if self.headers.get("Upgrade"):
                self.send_response(101); self.send_header("Upgrade", "websocket"); self.send_header("Connection", "Upgrade")
                self.end_headers(); self.wfile.flush()
                self.close_connection = True
                while self.connection.recv(1024): pass
                return
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = json.dumps({"path": self.path, "headers": [[k.lower(), v] for k, v in self.headers.items()]}).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "upstream=1")
        self.send_header("Server", "Telltale/1.0"); self.send_header("X-Powered-By", "Telltale")
        self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = serve
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 18789), Handler).serve_forever()
"""


# Asks for a page as fast as it can over eight connections from one address; prints how often each status came.
FLOOD = """
import collections, http.client, json, socket, ssl, sys, threading
source, address, name, method, path, host, count = sys.argv[1:]
context = ssl._create_unverified_context()
seen = []
class Connection(http.client.HTTPSConnection):
    def connect(self):
        self.sock = context.wrap_socket(socket.create_connection((address, 443), 20, (source, 0)), server_hostname=name)
def ask():
    connection = Connection(name)
    for _ in range(int(count) // 8):
        connection.request(method, path, headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        seen.append(answer.status)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(collections.Counter(seen)))
"""


def run(*argv: str, **options: Any) -> str:
    """What a command prints; an error when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr.strip()}")
    return str(done.stdout)


def until(what: str, true: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition, or fail saying which."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.05)


class FrontDoor:
    """A running front door; as a context it is ended and removed, whatever happens."""

    def __init__(self, folder: Path, render: Callable[..., str], gate: Mapping[str, int] | None = None) -> None:
        """Lay out `folder`; `gate` replaces numbers of the gate's settings."""
        self.folder = folder
        self.host, self.peer = f"t2x-web-h{os.getpid()}", f"t2x-web-p{os.getpid()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._render = render
        self._gate = dict(gate or {})
        self.authority = ""

    def __enter__(self) -> FrontDoor:
        """Start everything."""
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started, by its own id, and remove the namespaces."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()
        for name in (self.host, self.peer):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

    def _network(self) -> None:
        for name in (self.host, self.peer):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "link", "add", "wg0", "netns", self.host, "type", "veth", "peer", "name", "wg0", "netns", self.peer)
        for name, addresses in ((self.host, ADDRESSES), (self.peer, (*PEERS, *STRANGERS))):
            for address in addresses:
                more = ["nodad"] if ":" in address else []
                run("ip", "-n", name, "address", "add", f"{address}/{'48' if more else '24'}", "dev", "wg0", *more)
            run("ip", "-n", name, "link", "set", "wg0", "up")
        run("ip", "-n", self.host, "route", "add", "2001:db8::/32", "dev", "wg0")

    def _start(self) -> None:
        self._network()
        self.folder.chmod(0o755)
        for name in ("web", "run", "log", "state"):
            (self.folder / name).mkdir()
        certificate = pki.create(self.folder / "web", (NAME,))
        self.authority = (self.folder / "web/ca.pem").read_text()
        for name in ("chain.pem", "key.pem"):
            shutil.copy(certificate, self.folder / "web" / name)
        settings = json.loads(
            self._render("reverse_proxy", "etc/clawkeep/gate/gate.json.j2", reverse_proxy_server_name=NAME)
        )
        (self.folder / "gate.json").write_text(json.dumps(settings | self._gate))
        # The gate as it is installed: the archive, and the wrapper that starts it.
        archive = self.folder / "clawkeep_host.zip"
        archive.write_bytes(package.archive())
        (self.folder / "clawkeep-gate").write_text(package.wrapper("clawkeep-gate", archive=str(archive)))
        for name in ("run", "state"):
            shutil.chown(self.folder / name, "nobody", "nogroup")
        self.conf = self.folder / "nginx.conf"
        self.conf.write_text(self.settings())
        self.spawn(sys.executable, "-c", UPSTREAM)
        self.spawn(*UNPRIVILEGED, *self.gate_argv("serve", "--socket", str(self.folder / "run/gate.sock")))
        until("the gate's socket", (self.folder / "run/gate.sock").exists)
        self.nginx = self.spawn("nginx", "-c", str(self.conf), "-g", "daemon off;")
        until("nginx", lambda: ":443" in run("ip", "netns", "exec", self.host, "ss", "-Hltn"))
        until("the gateway", lambda: ":18789" in run("ip", "netns", "exec", self.host, "ss", "-Hltn"))

    def settings(self) -> str:
        """nginx's settings as the role renders them, with the places of this folder."""
        text = self._render(
            "reverse_proxy",
            "etc/nginx/nginx.conf.j2",
            reverse_proxy_server_name=NAME,
            reverse_proxy_tls_versions=["TLSv1.2", "TLSv1.3"],
        )
        for ours, here in (
            ("/etc/clawkeep/web", "web"),
            ("/run/clawkeep-gate", "run"),
            ("/var/log/nginx", "log"),
            ("/run/nginx.pid", "nginx.pid"),
        ):
            text = text.replace(ours, str(self.folder / here))
        return text

    def gate_argv(self, *words: str) -> list[str]:
        """A command of the gate on this folder's state."""
        base = [sys.executable, "-ISu", str(self.folder / "clawkeep-gate"), "--config", str(self.folder / "gate.json")]
        return [*base, "--state", str(self.folder / "state/gate.sqlite"), *words]

    def gate(self, *words: str, stdin: str = "") -> str:
        """What a command of the gate prints."""
        return run(*UNPRIVILEGED, *self.gate_argv(*words), input=stdin).strip()

    def spawn(self, *argv: str) -> subprocess.Popen[bytes]:
        """A process in the host's namespace, ended with this object."""
        log = (self.folder / f"process-{len(self._processes)}.log").open("wb")
        process = subprocess.Popen(["ip", "netns", "exec", self.host, *argv], stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def count(self) -> int:
        """How many requests have reached the gateway."""
        return int(run("ip", "netns", "exec", self.host, "curl", "-sS", "http://127.0.0.1:18789/__count"))

    def curl(self, source: str, path: str, *more: str) -> str:
        """The status and the body of an answer to a peer that comes from `source`, in one text."""
        address = ADDRESSES[":" in source]
        where = (
            "--interface",
            source,
            "--resolve",
            f"{NAME}:443:{address}",
            "--cacert",
            str(self.folder / "web/ca.pem"),
        )
        out = ("--write-out", "%{stderr}%{http_code}", f"https://{NAME}{path}")
        argv = ["ip", "netns", "exec", self.peer, "curl", "-sS", *where, *more, *out]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return f"{done.stderr}\n{done.stdout}"

    def login(self, source: str, user: str, password: str) -> int:
        """The status of a login from `source`, made as a browser makes it."""
        with tempfile.NamedTemporaryFile(prefix="t2x-cookies-") as jar:
            kept = ("--cookie", jar.name, "--cookie-jar", jar.name)
            token = re.search(r'name="csrf" value="([^"]+)"', self.curl(source, "/login", *kept))
            form = {"csrf": token.group(1) if token else "", "user": user, "password": password}
            data = ("--header", f"Origin: https://{NAME}", "--data", urllib.parse.urlencode(form))
            return int(self.curl(source, "/login", *kept, *data).partition("\n")[0])

    def flood(
        self, source: str, path: str, *, method: str = "GET", host: str = NAME, count: int = 640
    ) -> dict[int, int]:
        """How often each status came when `source` asked for a page as fast as it could."""
        argv = (sys.executable, "-c", FLOOD, source, ADDRESSES[":" in source], NAME, method, path, host, str(count))
        seen = json.loads(run("ip", "netns", "exec", self.peer, *argv))
        return {int(status): times for status, times in seen.items()}

    def reload(self, change: Callable[[str], str]) -> None:
        """Change nginx's settings and have them taken; waits for the new workers."""
        before = self._workers()
        self.conf.write_text(change(self.settings()))
        self.nginx.send_signal(signal.SIGHUP)
        until("new workers", lambda: bool(self._workers()) and not self._workers() & before)

    def _workers(self) -> set[str]:
        pid = str(self.nginx.pid)
        done = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", pid], capture_output=True, text=True, check=False)
        return {line.split()[0] for line in done.stdout.splitlines() if line.endswith("worker process")}

    def sessions(self, seconds: int = 20) -> dict[str, str]:
        """Test sessions for the probe."""
        fresh, leaving = (self.gate("probe-session", "--seconds", "300") for _ in range(2))
        short = self.gate("probe-session", "--seconds", str(seconds))
        return {"fresh": fresh, "logout": leaving, "short": short}

    def wishes(self) -> dict[str, Any]:
        """What the probe reads."""
        base = {"addresses": list(ADDRESSES), "port": 443, "name": NAME, "authority": self.authority}
        return {**base, "sessions": self.sessions(), "short_seconds": 20}
