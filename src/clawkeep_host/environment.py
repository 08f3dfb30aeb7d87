"""Environments as evidence: the names of variables, without the values that no judgement needs.

A name says what a container or service is told (that it may reach an engine, where its state lies); a value may be a
secret that looks like nothing. So values go, all of them, save those of KEPT in a Compose file.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import shlex
from collections.abc import Iterator
from typing import Any

from clawkeep_host.secret_looks import REDACTED

DROPPED = "[dropped]"
# BGL-04 compares the Compose file in use with the one that its release keeps. These are the variables that role
# openclaw writes there, none of which holds a secret (SEC-01): the gateway's token comes from a file of its own.
KEPT = frozenset(
    {
        *("AWS_EC2_METADATA_DISABLED", "OPENCLAW_CONFIG_PATH", "OPENCLAW_CONFIG_READONLY", "OPENCLAW_DISABLE_BONJOUR"),
        *("OPENCLAW_NO_AUTO_UPDATE", "OPENCLAW_NO_RESPAWN", "OPENCLAW_OFFLINE", "OPENCLAW_SERVICE_REPAIR_POLICY"),
        *("OPENCLAW_STATE_DIR", "PATH", "XDG_CACHE_HOME"),
    }
)
_KEYS = frozenset({"env", "environment"})
_MARKED = r"\[(?:redacted|dropped[ \w]{0,16})\]"
_NAME = r"(?P<open>[\"']?)(?P<name>[A-Za-z_][\w.-]*)[\"']?"
_SECTION = re.compile(r"(?P<indent> *)(?:- +)?[\"']?environment[\"']?:[ \t]*(?P<rest>.*)", re.S)
_ENTRY = re.compile(rf"(?P<head>(?P<indent> *)(?:- +)?{_NAME} *(?P<sign>[:=]) *)(?P<value>.*)", re.S)
_NAME_ALONE = re.compile(rf" *- +{_NAME} *(?:#.*)?")
_ITEM = re.compile(rf"(?P<head>{_NAME} *(?P<sign>[:=]) *)(?P<value>{_MARKED}|\"[^\"]*\"|'[^']*'|[^,}}\]\"']*)")
_UNIT = re.compile(r"^(?P<head>[ \t]*Environment=)(?P<rest>(?:[^\n\\]|\\\n|\\.)*)", re.M)
_MARK = re.compile(_MARKED)
# Equal values are told apart from others within one collection, and by nobody who has not its key.
_KEY = secrets.token_bytes(32)


def without_values(value: Any) -> Any:
    """A JSON value in which each environment has its names alone, as `NAME=[dropped]` or with that for a value.

    An environment is what stands under `Env` or `environment`, and such a section in a text that is a Compose file or a
    systemd unit. What was masked as a secret stays so.
    """
    if isinstance(value, dict):
        return {key: _names(item) if str(key).lower() in _KEYS else without_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_values(item) for item in value]
    return text_without_values(value) if isinstance(value, str) else value


def _names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: item if item is None or item == REDACTED else DROPPED for name, item in value.items()}
    if isinstance(value, list):
        return [_entry(item) if isinstance(item, str) else without_values(item) for item in value]
    return without_values(value)


def _entry(entry: str) -> str:
    name, sign, value = entry.partition("=")
    return entry if not sign or value == REDACTED else name + sign + DROPPED


def text_without_values(text: str) -> str:
    """A text whose environments have their names alone; of a Compose file it is YAML as it was."""
    if "environment" in text:
        text = "".join(_compose(re.findall(r"[^\n]*\n|[^\n]+", text)))
    return _UNIT.sub(_unit, text) if "Environment=" in text else text


def _unit(match: re.Match[str]) -> str:
    try:
        words = shlex.split(match["rest"].replace("\\\n", " "))
    except ValueError:
        return match["head"] + DROPPED
    return match["head"] + " ".join(shlex.quote(word.partition("=")[0]) + "=" + DROPPED for word in words)


def _compose(lines: list[str]) -> Iterator[str]:
    """The lines of a Compose file; what is no entry in a section, such as the next line of a value, says so."""
    at = 0
    while at < len(lines):
        section = _SECTION.match(lines[at])
        if section is None:
            yield lines[at]
            at += 1
            continue
        rest, at = section["rest"], at + 1
        if rest[:1] in ("{", "["):
            parts = [rest]
            while at < len(lines) and "}" not in parts[-1] and "]" not in parts[-1]:
                parts.append(lines[at])
                at += 1
            yield section[0][: section.start("rest")] + _ITEM.sub(_shown, "".join(parts))
            continue
        yield section[0]
        depth = None
        while at < len(lines) and _belongs(lines[at], len(section["indent"])):
            entry = _ENTRY.match(lines[at])
            depth = len(entry["indent"]) if depth is None and entry else depth
            if not lines[at].strip() or lines[at].lstrip().startswith("#"):
                yield lines[at]
            elif entry and len(entry["indent"]) == depth:
                yield _shown(entry)
            elif _NAME_ALONE.fullmatch(lines[at].rstrip("\n")):
                yield lines[at]
            else:
                yield f"{' ' * (len(section['indent']) + 2)}# {DROPPED}\n"
            at += 1


def _belongs(line: str, indent: int) -> bool:
    """Whether a line is part of a section that stands at `indent`."""
    deep = len(line) - len(line.lstrip(" "))
    return not line.strip() or deep > indent or (deep == indent and line.lstrip(" ").startswith("- "))


def _shown(entry: re.Match[str]) -> str:
    """An entry of a Compose file's, by name."""
    value, end = entry["value"].rstrip("\n"), "\n" if entry["value"].endswith("\n") else ""
    if entry["name"] in KEPT or _MARK.fullmatch(value.strip(" \"'")):
        return entry[0]
    tag = f"[dropped {hmac.new(_KEY, value.encode('utf-8', 'replace'), hashlib.sha256).hexdigest()[:8]}]"
    if entry["sign"] == ":":
        return f'{entry["head"]}"{tag}"{end}'
    closing = entry["open"] if entry["open"] and value.endswith(entry["open"]) else ""
    return entry["head"] + tag + closing + end
