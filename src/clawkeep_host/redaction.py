"""What a secret looks like: the one list, for everything that leaves a host (evidence, records, kill evidence).

Three things tell a secret: its look (`secret_looks`, a table), the name it stands under (`secret_names`), and an
encoding that hides one of both (base64, hex). Its place is taken by REDACTED; whatever is not the secret itself stays
as it was. The time is linear in the length, whatever the text.

Cut only what is redacted already: the first half of a secret looks like nothing.
"""

from __future__ import annotations

import base64
import functools
import json
import re
from collections.abc import Sequence
from typing import Any

from clawkeep_host import foreign_json
from clawkeep_host.secret_looks import OPTIONS, REDACTED, RULES, unencoded
from clawkeep_host.secret_names import STRONG, counts, harmless, is_secret_name, lower, weight
from clawkeep_host.secret_settings import redact_settings

__all__ = ["REDACTED", "is_secret_name", "redact", "redact_text"]

TOO_DEEP = "[withheld: nested too deeply]"
DEPTH = 100  # levels of lists and dicts that are followed
LAYERS = 3  # encodings within encodings that are undone


def redact_text(text: str) -> str:
    """`text` with every secret in it replaced, whatever the text is: log lines, JSON, a script, a command line."""
    return _again(text) if len(text) <= _CACHED else _text(text, LAYERS)


def redact(value: Any) -> Any:
    """A JSON value with every secret in it replaced; the value itself is not changed.

    By name: whatever stands under a secret's name, also in lists and dicts below it; the `value` beside such a `name`;
    the item behind `--NAME` in a list of arguments; all of "NAME=..." behind its sign, where a string is that alone.
    Every other text by `redact_text`. Below DEPTH levels TOO_DEEP says that something was left out.
    """
    return _value(value, "", 0)


# --- texts ----------------------------------------------------------------------------------------------------------

_SHORTEST = 4  # a shorter text holds no name with a value, and no look
_ENCODED = 16  # characters of the shortest encoded run that is looked into
# One search tells most texts that no rule needs to be tried on them but those whose hints are in every text.
_HINTED_BY_LITTLE = tuple(rule for rule in RULES if min(map(len, rule.hints)) == 1)
_HINTS = re.compile("|".join(sorted({re.escape(hint) for rule in RULES for hint in rule.hints if len(hint) > 1})))
_CACHED = 64  # characters of a text that may come again and again, as the keys of JSON do
# Maximal runs, over the line breaks of `base64 -w 76`, as they are and as JSON escapes them.
_BREAK = r"(?:\r?\n|(?:\\+r)?\\+n)"
_BASE64 = re.compile(rf"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_-]{{{_ENCODED},}}(?:{_BREAK}[A-Za-z0-9+/_-]{{4,}})*={{0,2}}")
_BREAKS = re.compile(rf"({_BREAK})")
_FOR_ADDRESSES = str.maketrans("-_", "+/")
# The kernel's audit records write what a process chose in hex, without quotes.
_HEX = re.compile(
    r"(?P<field>\b(?:proctitle|cmd|data|comm|exe|acct|name|a\d{1,4})=)?"
    rf"(?<![0-9A-Fa-f])[0-9A-Fa-f]{{{_ENCODED},}}"
)


def _text(text: str, layers: int) -> str:
    """`text` redacted, with that many encodings within each other still to be undone."""
    if len(text) < _SHORTEST:
        return text
    if layers and text.lstrip()[:1] in ("{", "["):
        text = _json(text)
    low = lower(text)
    for rule in RULES if _HINTS.search(low) else _HINTED_BY_LITTLE:
        text = rule.redact(text, low)
    text = redact_settings(text)
    if layers:
        text = _HEX.sub(lambda match: _hex(match, layers - 1), text)
        text = _BASE64.sub(lambda match: _base64(match, layers - 1), text)
    return text


@functools.lru_cache(maxsize=2048)
def _again(text: str) -> str:
    return _text(text, LAYERS)


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


def _hides(raw: bytes, layers: int) -> bool:
    inner = unencoded(raw)
    return inner is not None and _text(inner, layers) != inner


def _base64(match: re.Match[str], layers: int) -> str:
    """What stands for lines of base64: REDACTED for each block of them that holds a secret.

    A block is what a program broke into lines: lines of one length, and a shorter one behind them. That may also be the
    first line of the next block, so it is looked at with both.
    """
    parts = _BREAKS.split(match[0])
    lines, breaks = parts[::2], [*parts[1::2], ""]
    secret: set[int] = set()
    first = 0
    while first < len(lines):
        end = first + 1
        while end < len(lines) and len(lines[end]) == len(lines[first]):
            end += 1
        block = range(first, min(end + 1, len(lines)))
        if _base64_hides("".join(lines[at] for at in block), layers):
            secret |= set(block)
        first = end
    return "".join((REDACTED if at in secret else line) + breaks[at] for at, line in enumerate(lines))


def _base64_hides(run: str, layers: int) -> bool:
    """Whether a run holds a secret, wherever in it the base64 begins: a path or an escape may lead up to it."""
    letters = run.rstrip("=").translate(_FOR_ADDRESSES)
    for start in range(4):
        body = letters[start:]
        body = body[:-1] if len(body) % 4 == 1 else body
        if _hides(base64.b64decode(body + "=" * (-len(body) % 4)), layers):
            return True
    return False


def _hex(match: re.Match[str], layers: int) -> str:
    """What stands for a run of hex that holds a secret: REDACTED, or in an audit record the text without it."""
    field = match["field"] or ""
    digits = match[0][len(field) :]
    if field:
        inner = bytes.fromhex(digits[: len(digits) // 2 * 2]).decode("utf-8", "replace").replace("\0", " ")
        clean = _text(inner, layers)
        return match[0] if clean == inner else field + json.dumps(clean)
    hidden = any(_hides(bytes.fromhex(run[: len(run) // 2 * 2]), layers) for run in (digits, digits[1:]))
    return REDACTED if hidden else digits


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
    if not all(isinstance(item, str) for item in items):
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
    # The last program counts: `sshpass -p SECRET ssh -p 22`.
    last, told = max(((match.start(), True) for match in _NO_PASSWORD.finditer(line)), default=(-1, False))
    taken = False
    for one, program, pattern in _GIVEN:
        for match in program.finditer(line):
            if match.start() >= last and pattern.fullmatch(option):
                last, told, taken = match.start(), True, not one.user or ":" in following
    if taken:
        return True
    return option == "-p" and not told and not _PLAIN.match(following)
