"""Names that agents may reach through the proxy: those of the tier and of the site, and what is wrong with an entry."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable

from clawkeep.register.tiers import Tier
from clawkeep.site.inventory import EgressDomain, Site

HOST = re.compile(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
TLS = 443
# Whoever wants to can rent a place below these, besides every top-level domain. No complete list: entries are matched
# whole, so one that is missed here opens one host, not all of its tenants.
RENTED = frozenset(
    (
        *("github.io", "gitlab.io", "herokuapp.com", "cloudfront.net", "amazonaws.com", "azurewebsites.net"),
        *("blob.core.windows.net", "appspot.com", "run.app", "web.app", "firebaseapp.com", "pages.dev"),
        *("workers.dev", "r2.dev", "vercel.app", "netlify.app", "ngrok.io", "ngrok.app"),
        *("ngrok-free.app", "trycloudflare.com", "fly.dev", "onrender.com", "blogspot.com"),
    )
)
SECOND_LEVEL = re.compile(r"(co|com|org|net|gov|edu|ac|or|ne|go)\.[a-z]{2}")


def approved(tier: Tier, site: Site) -> tuple[EgressDomain, ...]:
    """The tier's entries, then the site's."""
    return (*(EgressDomain.model_validate(one) for one in tier["egress_allowed_domains"]), *site.egress_domains)


def objections(entries: Iterable[EgressDomain], day: datetime.date) -> list[str]:
    """Sentences about entries that name no single host, that nobody answers for, or with a lapsed review on `day`."""
    found = []
    for one in entries:
        shown = f"the approval of {one.name}:{one.port}"
        if not HOST.fullmatch(one.name):
            found.append(f"{shown} names no single host in lower case")
        elif one.name in RENTED or SECOND_LEVEL.fullmatch(one.name):
            found.append(f"{shown} is a name that anybody can rent a place below")
        if one.port != TLS:
            found.append(f"{shown} is for another port than {TLS}")
        if not one.reason.strip() or not one.owner.strip():
            found.append(f"{shown} has no reason or no owner")
        if one.review < day:
            found.append(f"{shown} was to be looked at again by {one.review}; the host was measured on {day}")
    return found
