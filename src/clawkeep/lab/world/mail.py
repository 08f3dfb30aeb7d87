"""A mail server that accepts every message and delivers none: each becomes one line of JSON."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

from clawkeep.lab.world.http import Journal


class Sandbox:
    """aiosmtpd's handler: writes sender, recipients, peer and text to the journal."""

    def __init__(self, journal: Journal) -> None:
        """Write to `journal`."""
        self._journal = journal

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002
        """Keep one message."""
        content = envelope.content or b""
        self._journal.write(
            peer=session.peer[0] if session.peer else "",
            sender=envelope.mail_from,
            recipients=envelope.rcpt_tos,
            text=content if isinstance(content, str) else content.decode(errors="replace"),
        )
        return "250 kept in the lab"


async def serve(journal: Journal, addresses: list[str], port: int) -> list[asyncio.Server]:
    """Listen on every address."""
    loop = asyncio.get_running_loop()
    handler = Sandbox(journal)
    return [
        await loop.create_server(lambda: SMTP(handler, hostname="mail.example"), host=a, port=port) for a in addresses
    ]


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("addresses", nargs="+")
    arguments = parser.parse_args()
    servers = await serve(Journal(arguments.journal), arguments.addresses, 25)
    await asyncio.gather(*(s.serve_forever() for s in servers))


if __name__ == "__main__":
    asyncio.run(_main())
