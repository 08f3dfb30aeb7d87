"""The neighbour's service on the private network: the thing next door that an agent has no business with."""

from __future__ import annotations

from clawkeep.lab.world.http import Application, Reply, Request, main


class Echo(Application):
    """Says back who asked and what was sent."""

    def answer(self, request: Request) -> Reply:
        """The echo."""
        facts = {"service": "neighbour", "peer": request.peer, "local": request.local}
        return Reply.json({**facts, "path": request.path, "body": request.body.decode(errors="replace")})


if __name__ == "__main__":
    main(Echo())
