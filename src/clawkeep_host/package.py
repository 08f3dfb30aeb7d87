"""The host programs as what is installed: one archive of this package, and one thin wrapper for each program."""

from __future__ import annotations

import io
import zipfile

from clawkeep_host.version import sources

ARCHIVE = "/usr/local/lib/clawkeep/clawkeep_host.zip"
FOLDER = "/usr/local/sbin"
PROGRAMS = {
    "clawkeep-breakglass": "clawkeep_host.breakglass",
    "clawkeep-firewall": "clawkeep_host.firewall",
    "clawkeep-gate": "clawkeep_host.gate.server",
    "clawkeep-kill": "clawkeep_host.kill",
    "clawkeep-log-alert": "clawkeep_host.log.alert",
    "clawkeep-log-digest": "clawkeep_host.log.digest",
    "clawkeep-log-journal": "clawkeep_host.log.journal",
    "clawkeep-log-openclaw": "clawkeep_host.log.openclaw",
    "clawkeep-log-redact": "clawkeep_host.log.redact",
    "clawkeep-log-send": "clawkeep_host.log.send",
    "clawkeep-release": "clawkeep_host.release",
    "clawkeep-state": "clawkeep_host.state",
    "clawkeep-vpn": "clawkeep_host.vpn",
}
# Isolated from the environment, without site-packages, unbuffered: what the log programs print is read by the line.
WRAPPER = """\
#!/usr/bin/python3 -ISu
# {program} of Clawkeep. What it does stands in the archive, in {module}.
import sys

sys.path.insert(0, "{archive}")
from {module} import main

main()
"""


def archive() -> bytes:
    """The package as a zip: the same bytes for the same sources, on every machine."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in sorted(sources().items()):
            made.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def wrapper(program: str, *, archive: str = ARCHIVE) -> str:
    """The text of FOLDER/PROGRAM; raises KeyError for a program that there is not."""
    return WRAPPER.format(program=program, module=PROGRAMS[program], archive=archive)
