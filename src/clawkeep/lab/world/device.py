"""A colleague's device: a WireGuard interface with a key and addresses, which the probe gives its peer.

Runs in the namespace of the place `vpn`: KEY-FILE INTERFACE ADDRESS... ROUTE... (routes begin with `to:`). Where the
kernel has no WireGuard it is wireguard-go's; either way the interface goes when this process ends.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 20.0  # seconds for wireguard-go to make its interface


def run(*argv: str) -> None:
    """Run a command; raises RuntimeError with what it said."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"`{' '.join(argv)}` failed: {done.stderr.strip()}")


def main(key: str, interface: str, *words: str) -> None:
    """Make the interface and hold it until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    kernel = subprocess.run(["ip", "link", "add", interface, "type", "wireguard"], capture_output=True, check=False)
    process = None
    try:
        if kernel.returncode:
            process = subprocess.Popen(["wireguard-go", "--foreground", interface])
            deadline = time.monotonic() + PATIENCE
            while not Path("/var/run/wireguard", f"{interface}.sock").exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("wireguard-go made no interface")
                time.sleep(0.05)
        run("wg", "set", interface, "private-key", key)
        for word in words:
            if not word.startswith("to:"):
                run("ip", "address", "add", word, "dev", interface)
        run("ip", "link", "set", interface, "up", "mtu", "1420")
        for word in words:
            if word.startswith("to:"):
                run("ip", "route", "add", word.removeprefix("to:"), "dev", interface)
        if process is None:
            signal.pause()
        else:
            process.wait()
    finally:
        if process is None:
            subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)
        else:
            process.terminate()


if __name__ == "__main__":
    main(*sys.argv[1:])
