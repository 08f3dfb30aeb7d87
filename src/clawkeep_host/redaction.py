"""What a secret looks like: the one list, for everything that leaves a host (evidence, records, kill evidence).

Three things tell a secret: its look (`secret_looks`, a table), the name it stands under (`secret_names`), and an
encoding that hides one of both (base64, hex). Its place is taken by REDACTED; whatever is not the secret itself stays
as it was. The time is linear in the length, whatever the text.

Cut only what is redacted already: the first half of a secret looks like nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from clawkeep_host import foreign_json
from clawkeep_host.secret_looks import OPTIONS, REDACTED, RULES, decoded
from clawkeep_host.secret_names import STRONG, counts, harmless, is_secret_name, lower, weight
from clawkeep_host.secret_settings import redact_settings

__all__ = ["REDACTED", "is_secret_name", "redact", "redact_text"]

TOO_DEEP = "[withheld: nested too deeply]"
DEPTH = 100  # levels of lists and dicts that are followed
LAYERS = 3  # encodings within encodings that are undone


def redact_text(text: str) -> str:
    """`text` with every secret in it replaced, whatever the text is: log lines, JSON, a script, a command line."""
    return _text(text, LAYERS)


def redact(value: Any) -> Any:
    """A JSON value with every secret in it replaced; the value itself is not changed.

    By name: whatever stands under a secret's name, also in lists and dicts below it; the `value` beside such a `name`;
    the item behind `--NAME` in a list of arguments; all of "NAME=..." behind its sign, where a string is that alone.
    Every other text by `redact_text`. Below DEPTH levels TOO_DEEP says that something was left out.
    """
    return _value(value, "", 0)


# --- texts ----------------------------------------------------------------------------------------------------------

_SHORTEST = 4  # a shorter text holds no name with a value, and no look
_ENCODED = 16  # characters of the shortest encoded word that is looked into
# Maximal runs, over the line breaks of `base64 -w 76`, as they are and as JSON escapes them.
_BASE64 = re.compile(
    rf"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{{{_ENCODED},}}"
    r"(?:(?:\r?\n|(?:\\r)?\\n)[A-Za-z0-9+/_-]{4,})*={0,2}"
)
_BREAK = re.compile(r"\\r|\\n|[\r\n]")
_STEP = re.compile(r"(\\r|\\n|[\r\n/_-])")
# The kernel's audit records write what a process chose in hex, without quotes.
_HEX = re.compile(
    r"(?P<field>\b(?:proctitle|cmd|data|comm|exe|acct|name|a\d{1,4})=)?"
    rf"(?<![A-Za-z0-9])(?:[0-9A-Fa-f]{{2}}){{{_ENCODED // 2},}}(?![A-Za-z0-9])"
)


def _text(text: str, layers: int) -> str:
    """`text` redacted, with that many encodings within each other still to be undone."""
    if len(text) < _SHORTEST:
        return text
    if layers and text.lstrip()[:1] in ("{", "["):
        text = _json(text)
    low = lower(text)
    for rule in RULES:
        text = rule.redact(text, low)
    text = redact_settings(text)
    if layers:
        text = _HEX.sub(lambda match: _hex(match, layers - 1), text)
        text = _BASE64.sub(lambda match: _base64(match, layers - 1), text)
    return text


def _json(text: str) -> str:
    """A text that is one JSON value, written anew without secrets; itself where there are none, or where it is not."""
    try:
        value = foreign_json.loads(text)
        clean = redact(value)
        if clean == value:
            return text
        return json.dumps(clean, separators=None if '": ' in text else (",", ":"))
    except ValueError:
        return text


def _hides(word: str, layers: int) -> bool:
    inner = decoded(word)
    return inner is not None and _text(inner, layers) != inner


def _base64(match: re.Match[str], layers: int) -> str:
    """What stands for a run of base64: REDACTED when it holds a secret, else itself.

    A path or an address may lead up to what is encoded, and lines may only look joined: each step is tried, too.
    """
    word = match[0]
    if _hides(_BREAK.sub("", word), layers):
        return REDACTED
    steps = _STEP.split(word)
    if len(steps) == 1:
        return word
    return "".join(REDACTED if len(step) >= _ENCODED and _hides(step, layers) else step for step in steps)


def _hex(match: re.Match[str], layers: int) -> str:
    """What stands for a run of hex that holds a secret: REDACTED, or in an audit record the text without it."""
    field = match["field"] or ""
    try:
        inner = bytes.fromhex(match[0][len(field) :]).decode("utf-8", "replace" if field else "strict")
    except ValueError:
        return match[0]
    inner = inner.replace("\0", " ")
    clean = _text(inner, layers)
    if clean == inner:
        return match[0]
    return field + json.dumps(clean) if field else REDACTED


# --- values ---------------------------------------------------------------------------------------------------------

_SETTING = re.compile(r"(?:export |-{1,2})?(?P<name>[A-Za-z_][\w.-]{0,127})=")
_NAMES = ("name", "Name", "key", "Key")


def _value(value: Any, name: str, depth: int) -> Any:
    """`value` redacted as it stands under a secret's `name`; under "" where no name says anything."""
    if isinstance(value, str):
        return _string(value, name)
    if isinstance(value, (int, float)):
        # No truth value, nor SQLite's, and no count.
        secret = name and value not in (0, 1) and weight(name) == STRONG and not counts(name)
        return REDACTED if secret else value
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth >= DEPTH:
        return TOO_DEEP if value else value
    if isinstance(value, dict):
        return _dict(value, name, depth)
    said = _arguments(value)
    return [REDACTED if at in said else _value(item, name, depth + 1) for at, item in enumerate(value)]


def _dict(value: dict[Any, Any], name: str, depth: int) -> dict[Any, Any]:
    beside = next((value[key] for key in _NAMES if isinstance(value.get(key), str)), "")
    made: dict[Any, Any] = {}
    for key, item in value.items():
        own = str(key)
        if name:
            own = f"{name}_{own}"
        elif own.lower() == "value" and weight(beside):
            own = beside
        shown = redact_text(key) if isinstance(key, str) else key
        while shown in made:
            shown += "*"  # two keys that were secrets: neither takes the other's place
        made[shown] = _value(item, own if weight(own) else "", depth + 1)
    return made


def _string(value: str, name: str) -> str:
    if name:
        return redact_text(value) if harmless(name, value) else REDACTED
    setting = _SETTING.match(value)
    if setting and weight(setting["name"]) and not harmless(setting["name"], value[setting.end() :]):
        return setting[0] + REDACTED
    return redact_text(value)


# --- lists of arguments ---------------------------------------------------------------------------------------------

_GIVEN = tuple((one, re.compile(rf"(?:^|[ /])(?:{one.program})(?= |$)"), re.compile(one.option)) for one in OPTIONS)
_BEFORE = 24  # arguments before an option among which its program is looked for
_ARGUMENT = 64  # characters of one of them
# `-p` of a program that nobody knows: a port, a mapping, a protocol or a path is no password ...
_PLAIN = re.compile(
    r"[-/.~]|[\d.,:/*-]*(?:/(?:tcp|udp))?\Z|\[?[0-9a-f:]+\]?[:\d]*\Z"
    r"|(?:tcp|udp|icmp|icmpv6|ipv6-icmp|udplite|sctp|dccp|esp|ah|gre|all|vrrp|igmp)\Z"
)
# ... and of these it is a port, project, property, priority, permission or process.
_NO_PASSWORD = re.compile(
    r"(?:^|[ /])(?:docker|docker-compose|podman|nerdctl|ssh|scp|systemctl|journalctl|logger|nmap|nc|psql|pg_dump"
    r"|pg_restore|ip6?tables|auditctl|mkdir|cp|perl|node|tcpdump|ps|lsof|strace|ss|sshd|git|patch|make|tmux|unzip)"
    r"(?= |$)"
)


def _arguments(items: Sequence[Any]) -> set[int]:
    """Which items of a list are secrets because of the option before them."""
    said: set[int] = set()
    if len(items) < 2 or not all(isinstance(item, str) for item in items):
        return said
    for at, (item, following) in enumerate(zip(items, items[1:])):
        if item.startswith("-") and "=" not in item and not following.startswith("--"):
            by_name = weight(item) and not harmless(item.strip("-"), following)
            if by_name or _takes_password(item, following, items[max(0, at - _BEFORE) : at]):
                said.add(at + 1)
    return said


def _takes_password(option: str, following: str, before: Sequence[str]) -> bool:
    """Whether an option whose name does not tell is one behind which a password stands."""
    if len(option) > 2 and not option.startswith("--"):
        return False
    line = " ".join(one[:_ARGUMENT] for one in before)
    for one, program, pattern in _GIVEN:
        if pattern.fullmatch(option) and program.search(line):
            return not one.user or ":" in following
    return option == "-p" and not _PLAIN.match(following) and not _NO_PASSWORD.search(line)
