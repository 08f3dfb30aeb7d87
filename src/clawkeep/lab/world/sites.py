"""The public internet's web sites: they tell who asked whom, and redirect to wherever they are told."""

from __future__ import annotations

from urllib.parse import parse_qs

from clawkeep.lab.world.http import Application, Reply, Request, main


class Site(Application):
    """Any path answers; `/redirect?to=URL` sends the client on, as a hostile site would."""

    def answer(self, request: Request) -> Reply:
        """The page, or the redirect."""
        if request.path == "/redirect":
            target = parse_qs(request.query).get("to", [""])[0]
            return Reply(302, headers=(("Location", target.splitlines()[0] if target else "/"),))
        facts = {"site": request.headers.get("host", ""), "peer": request.peer, "local": request.local}
        return Reply.json({**facts, "path": request.path})


if __name__ == "__main__":
    main(Site())
