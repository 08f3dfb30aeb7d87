"""The host programs as what is installed: one archive of this package, and one thin wrapper for each program."""

from __future__ import annotations

import io
import zipfile

from clawkeep_host.version import sources
from clawkeep_host.version import version as current

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
# With another archive each wrapper is another one, too: what watches a wrapper then starts its daemon anew.
WRAPPER = """\
#!/usr/bin/python3 -ISu
# {program} of Clawkeep {version}: what it does stands in the archive, in {module}.
import sys

sys.path.insert(0, "{archive}")
try:
    from {module} import main
except ImportError as problem:
    sys.exit(f"{program}: {archive} cannot be used, so run the playbook again: {{problem}}")

main()
"""


def archive() -> bytes:
    """The package as a zip: the same bytes for the same sources, on every machine; its comment is the version.

    It is stored, not compressed: two builds of zlib compress differently.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as made:
        for name, content in sorted(sources().items()):
            made.writestr(zipfile.ZipInfo(name), content)
        made.comment = current().encode()
    return buffer.getvalue()


def wrapper(program: str, *, archive: str = ARCHIVE, version: str | None = None) -> str:
    """The text of FOLDER/PROGRAM, of this version unless told another; raises KeyError for an unknown program."""
    return WRAPPER.format(program=program, version=version or current(), module=PROGRAMS[program], archive=archive)
