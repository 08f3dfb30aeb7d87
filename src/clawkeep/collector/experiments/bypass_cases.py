"""Every way around the proxy that is tried: the one list behind the probes, the judgement and docs/guides/bypass.md.

A case's target is text with placeholders, filled in on the host from what tier and site declare: `{approved}` (a name
that passes), `{forbidden}`, `{forbidden4}`, `{forbidden6}` (a site that answers and is not approved), `{approved4}`,
`{approved6}` (the approved site's own addresses), `{resolver4}`, `{resolver6}` (foreign name servers), `{doh}` (DNS
over HTTPS, by name). Standard library only.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

# How a case is tried.
TCP, UDP, ICMP = "tcp", "udp", "icmp"  # past the proxy, from the container's network
CONNECT, GET, TLS = "connect", "get", "tls"  # through the proxy; TLS says a name inside an approved tunnel
QUERY = "query"  # a question to every name server that the container is told to ask
REDIRECT = "redirect"  # an approved site sends the client on

DIRECT = (TCP, UDP, ICMP)


class Case(NamedTuple):
    """One attempt. `target` as a client would spell it; `extra` is the record type of a query, the payload of a
    datagram, or the TLS name (`raw` speaks no TLS at all)."""

    id: str
    control: str
    way: str
    target: str
    what: str
    extra: str = ""


CASES: Tuple[Case, ...] = (
    # EGR-01: past the proxy, its variables unset
    Case("direct-approved-v4", "EGR-01", TCP, "{approved4}:443", "an approved site by its address, as --resolve does"),
    Case("direct-approved-v6", "EGR-01", TCP, "[{approved6}]:443", "the same over IPv6, as --connect-to does"),
    Case("direct-ssh-v4", "EGR-01", TCP, "{forbidden4}:22", "ssh to anywhere"),
    Case("direct-mail-v4", "EGR-01", TCP, "{forbidden4}:25", "mail to anywhere"),
    Case("direct-http-v4", "EGR-01", TCP, "{forbidden4}:80", "plain HTTP to anywhere"),
    Case("direct-https-v4", "EGR-01", TCP, "{forbidden4}:443", "HTTPS to anywhere"),
    Case("direct-high-v4", "EGR-01", TCP, "{forbidden4}:47808", "a port that nobody thought of"),
    Case("direct-http-v6", "EGR-01", TCP, "[{forbidden6}]:80", "plain HTTP over IPv6"),
    Case("direct-https-v6", "EGR-01", TCP, "[{forbidden6}]:443", "HTTPS over IPv6"),
    Case("direct-high-v6", "EGR-01", TCP, "[{forbidden6}]:47808", "a port that nobody thought of, over IPv6"),
    Case("direct-mapped", "EGR-01", TCP, "[::ffff:{forbidden4}]:443", "an IPv4 address inside an IPv6 one"),
    Case("direct-decimal", "EGR-01", TCP, "{forbidden4:decimal}:443", "an address as one number"),
    Case("direct-octal", "EGR-01", TCP, "{forbidden4:octal}:443", "an address in octal"),
    Case("direct-hex", "EGR-01", TCP, "{forbidden4:hex}:443", "an address in hexadecimal"),
    Case("direct-time-v4", "EGR-01", UDP, "{forbidden4}:123", "UDP to the port of time servers", "echo"),
    Case("direct-quic-v4", "EGR-01", UDP, "{forbidden4}:443", "QUIC", "quic"),
    Case("direct-quic-v6", "EGR-01", UDP, "[{forbidden6}]:443", "QUIC over IPv6", "quic"),
    Case("direct-ping-v4", "EGR-01", ICMP, "{forbidden4}", "an ICMP echo, which can carry data"),
    Case("direct-ping-v6", "EGR-01", ICMP, "{forbidden6}", "the same over IPv6"),
    # EGR-02: names that nobody approved
    Case("unlisted", "EGR-02", CONNECT, "{forbidden}:443", "a name that is not on the list"),
    Case("unlisted-plain", "EGR-02", GET, "http://{forbidden}/", "the same in the clear"),
    Case("approved-plain", "EGR-02", GET, "http://{approved}/", "an approved name in the clear, past its port"),
    # EGR-03: destinations that look approved
    Case("below", "EGR-03", CONNECT, "www.{approved}:443", "a name below an approved one"),
    Case("suffix", "EGR-03", CONNECT, "{approved}.{forbidden}:443", "an approved name in front of another"),
    Case("prefix", "EGR-03", CONNECT, "evil-{approved}:443", "another name that ends like an approved one"),
    Case("any-letter", "EGR-03", CONNECT, "{approved:anydot}:443", "a letter where a pattern's dot takes any"),
    Case("trailing-dot", "EGR-03", CONNECT, "{forbidden}.:443", "an unlisted name with a dot at its end"),
    Case("upper-case", "EGR-03", CONNECT, "{forbidden:upper}:443", "an unlisted name in capitals"),
    Case("userinfo", "EGR-03", TLS, "{approved}@{forbidden}:443", "an approved name as another's user", "{forbidden}"),
    Case("userinfo-port", "EGR-03", TLS, "{approved}:443@{forbidden}:443", "the same with a port", "{forbidden}"),
    Case("userinfo-url", "EGR-03", GET, "http://{approved}@{forbidden}/", "the same in a URL"),
    Case(
        "host-header", "EGR-03", CONNECT, "{forbidden}:443", "an unlisted target, an approved Host", "host={approved}"
    ),
    Case("literal-v4", "EGR-03", CONNECT, "{forbidden4}:443", "an IPv4 address"),
    Case("literal-v6", "EGR-03", CONNECT, "[{forbidden6}]:443", "an IPv6 address"),
    Case("literal-approved", "EGR-03", CONNECT, "{approved4}:443", "an approved site by its address"),
    Case("literal-decimal", "EGR-03", CONNECT, "{forbidden4:decimal}:443", "an address as one number"),
    Case("literal-octal", "EGR-03", CONNECT, "{forbidden4:octal}:443", "an address in octal"),
    Case("literal-hex", "EGR-03", CONNECT, "{forbidden4:hex}:443", "an address in hexadecimal"),
    Case("literal-mapped", "EGR-03", CONNECT, "[::ffff:{forbidden4}]:443", "an IPv4 address inside an IPv6 one"),
    Case("port-ssh", "EGR-03", CONNECT, "{approved}:22", "an approved name, the port of ssh"),
    Case("port-http", "EGR-03", CONNECT, "{approved}:80", "an approved name, the port of HTTP"),
    Case("port-other", "EGR-03", CONNECT, "{approved}:8443", "an approved name, another TLS port"),
    Case("sni-other", "EGR-03", TLS, "{approved}:443", "another TLS name inside the tunnel", "{forbidden}"),
    Case("sni-below", "EGR-03", TLS, "{approved}:443", "a TLS name below the approved one", "www.{approved}"),
    Case("no-tls", "EGR-03", TLS, "{approved}:443", "something else than TLS inside the tunnel", "raw"),
    Case("rebinding", "EGR-03", CONNECT, "{rebinding}:443", "an approved name that leads to a private address"),
    # EGR-04: names
    Case("name-a", "EGR-04", QUERY, "{forbidden}", "an unlisted name", "A"),
    Case("name-aaaa", "EGR-04", QUERY, "{forbidden}", "an unlisted name, its IPv6 address", "AAAA"),
    Case("name-txt", "EGR-04", QUERY, "{forbidden}", "an unlisted name, its text", "TXT"),
    Case("name-null", "EGR-04", QUERY, "{forbidden}", "an unlisted name, a type for tunnels", "NULL"),
    Case("name-any", "EGR-04", QUERY, "{forbidden}", "an unlisted name, whatever there is", "ANY"),
    Case("name-long", "EGR-04", QUERY, "{labels}.{forbidden}", "long labels that carry data out", "A"),
    Case("name-below", "EGR-04", QUERY, "{label}.{approved}", "a random label below an approved name", "A"),
    Case("name-below-txt", "EGR-04", QUERY, "{labels}.{approved}", "long labels below an approved name", "TXT"),
    Case("name-docker", "EGR-04", QUERY, "host.docker.internal", "the engine's name for the host", "A"),
    Case("dns-udp-v4", "EGR-04", UDP, "{resolver4}:53", "a foreign name server", "dns"),
    Case("dns-udp-v6", "EGR-04", UDP, "[{resolver6}]:53", "a foreign name server over IPv6", "dns"),
    Case("dns-tcp-v4", "EGR-04", TCP, "{resolver4}:53", "a foreign name server over TCP"),
    Case("dns-tcp-v6", "EGR-04", TCP, "[{resolver6}]:53", "the same over IPv6"),
    Case("dns-tls-v4", "EGR-04", TCP, "{resolver4}:853", "DNS over TLS"),
    Case("dns-tls-v6", "EGR-04", TCP, "[{resolver6}]:853", "DNS over TLS and IPv6"),
    Case("dns-quic-v4", "EGR-04", UDP, "{resolver4}:853", "DNS over QUIC", "quic"),
    Case("dns-https-v4", "EGR-04", TCP, "{resolver4}:443", "DNS over HTTPS, past the proxy"),
    Case("dns-https", "EGR-04", CONNECT, "{doh}:443", "DNS over HTTPS, through the proxy"),
    # IMD-03: metadata through the proxy
    Case("metadata", "IMD-03", GET, "http://169.254.169.254/latest/meta-data/", "the metadata address"),
    Case("metadata-tunnel", "IMD-03", CONNECT, "169.254.169.254:80", "a tunnel to it"),
    Case("metadata-tls", "IMD-03", CONNECT, "169.254.169.254:443", "a tunnel to the port that passes"),
    Case("metadata-decimal", "IMD-03", GET, "http://2852039166/", "it, as one number"),
    Case("metadata-octal", "IMD-03", GET, "http://0251.0376.0251.0376/", "it, in octal"),
    Case("metadata-hex", "IMD-03", GET, "http://0xa9fea9fe/", "it, in hexadecimal"),
    Case("metadata-mapped", "IMD-03", GET, "http://[::ffff:169.254.169.254]/", "it, inside an IPv6 address"),
    Case("metadata-v6", "IMD-03", GET, "http://[fd00:ec2::254]/", "its IPv6 address"),
    Case("metadata-name", "IMD-03", GET, "http://metadata.google.internal/", "a cloud's name for it"),
    Case("metadata-tasks", "IMD-03", GET, "http://169.254.170.2/", "the credentials of containers"),
    Case("metadata-redirect", "IMD-03", REDIRECT, "{redirect}", "an approved site redirects to it"),
)

CONTROL_EXPERIMENTS = {
    TCP: "the host itself connects to the same target; `egress_forward_drop` grew by the packets",
    UDP: "the host itself is answered by the same target; `egress_forward_drop` grew by the packets",
    ICMP: "the host itself is answered by the same target; `egress_forward_drop` grew by the packets",
    CONNECT: "the plain approved name passes the proxy",
    GET: "the plain approved name passes the proxy",
    TLS: "the same tunnel with the right TLS name reaches the server",
    QUERY: "the same name server answers for the approved name",
    REDIRECT: "the approved site sent the redirect",
}
# What closes each way, for the reader.
REFUSALS = {
    TCP: "no answer",
    UDP: "no answer",
    ICMP: "no answer",
    CONNECT: "403 from the proxy",
    GET: "403 from the proxy",
    TLS: "403, or the proxy ends the tunnel before a TLS server answers",
    QUERY: "no such name",
    REDIRECT: "403 from the proxy",
}
PLACEHOLDER = re.compile(r"\{(\w+)(?::(\w+))?\}")


def _decimal(address: str) -> str:
    return str(int(ipaddress.IPv4Address(address)))


def _octal(address: str) -> str:
    return ".".join("0%o" % int(part) for part in address.split("."))


def _hexadecimal(address: str) -> str:
    return "0x%08x" % int(ipaddress.IPv4Address(address))


def _any_dot(name: str) -> str:
    head, _, tail = name.rpartition(".")
    return head.replace(".", "x") + "." + tail


SPELLINGS = {
    "decimal": _decimal,
    "octal": _octal,
    "hex": _hexadecimal,
    "upper": str.upper,
    "anydot": _any_dot,
}


def fill(text: str, known: Dict[str, str]) -> Optional[str]:
    """`text` with its placeholders filled in; None when one of them is not known."""
    names = [match.group(1) for match in PLACEHOLDER.finditer(text)]
    if any(not known.get(name) for name in names):
        return None

    def put(match: "re.Match[str]") -> str:
        value = known[match.group(1)]
        return SPELLINGS[match.group(2)](value) if match.group(2) else value

    return PLACEHOLDER.sub(put, text)


def facts(site: Dict[str, Any], tier: Dict[str, Any], labels: Tuple[str, str]) -> "Tuple[Dict[str, str], List[str]]":
    """The values of the placeholders, and the rebinding names, by what site and tier declare; `labels` are a random
    label and a dotted run of long ones."""
    declared = site.get("egress_probes") or {}
    names = listed(site, tier)
    known = {key: str(declared.get(key) or "") for key in PROBE_KEYS}
    known["approved"] = str(declared.get("approved") or (names[0] if names else ""))
    known["label"], known["labels"] = labels
    return known, [str(one) for one in declared.get("rebinding") or ()]


def listed(site: Dict[str, Any], tier: Dict[str, Any]) -> List[str]:
    """The approved names, the tier's first; those that lead to private addresses on purpose are left out."""
    declared = site.get("egress_probes") or {}
    staged = declared.get("rebinding") or ()
    both = [*(tier.get("egress_allowed_domains") or ()), *(site.get("egress_domains") or ())]
    return [str(one["name"]) for one in both if one["name"] not in staged]


PROBE_KEYS = (
    "approved4",
    "approved6",
    "forbidden",
    "forbidden4",
    "forbidden6",
    "resolver4",
    "resolver6",
    "doh",
    "redirect",
)


def filled(known: Dict[str, str], rebinding: List[str]) -> "Iterator[Tuple[Case, Optional[str], Optional[str]]]":
    """Every case with its target and extra filled in (None: not declared); one for each rebinding name."""
    for case in CASES:
        if case.id == "rebinding":
            for name in rebinding or [""]:
                more = dict(known, rebinding=name)
                yield case, fill(case.target, more), case.extra
        else:
            yield case, fill(case.target, known), fill(case.extra, known)
