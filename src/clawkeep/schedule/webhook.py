"""A web hook: the notice as JSON to one https address. Where it leads is a secret, and so is never told."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

from clawkeep.base.errors import ClawkeepError
from clawkeep.schedule.config import Webhook, secret
from clawkeep.schedule.notice import Notice
from clawkeep.schedule.trust import context

SECONDS = 20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What is for one receiver is for no other."""

    def redirect_request(self, *_: object) -> None:
        return None


def body(notice: Notice) -> bytes:
    """The JSON: `text` is what chat services show, the other keys are for programs."""
    text = "\n".join((notice.subject, *notice.lines))
    document = {**notice.data, "text": text, "subject": notice.subject, "level": notice.level.name.lower()}
    return json.dumps(document).encode()


def send(hook: Webhook, notice: Notice) -> None:
    """Post the notice; raises ClawkeepError without the address and without the token."""
    url = secret(hook.url_file)
    headers = {"Content-Type": "application/json", "User-Agent": "clawkeep"}
    if hook.token_file is not None:
        headers["Authorization"] = f"Bearer {secret(hook.token_file)}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme == "https" and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        raise ClawkeepError(f"the address in {hook.url_file} is no https address")
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=context(hook.ca_file)))
    request = urllib.request.Request(url, body(notice), headers, method="POST")  # noqa: S310 - https, see above
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            answer.read(1)
    except urllib.error.HTTPError as problem:
        with problem:
            raise ClawkeepError(f"the receiver answers with status {problem.code}") from None
    except urllib.error.URLError as problem:
        raise ClawkeepError(f"the receiver cannot be reached: {_reason(problem.reason)}") from None
    except (OSError, ValueError, http.client.HTTPException) as problem:
        raise ClawkeepError(f"the receiver did not take it: {_reason(problem)}") from None


def _reason(problem: object) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({problem.verify_message})"
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return type(problem).__name__
