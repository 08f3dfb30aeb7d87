"""Secrets that a text gives away by their names: NAME=value, "name": "value", `--name value`, headers, XML.

Also where the text is JSON within JSON (`\\"password\\":\\"...\\"`), cut off, or no JSON at all. A name is found by the
words that make it a secret's, then read to both sides, then what follows. One pass, never back.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from clawkeep_host.secret_looks import REDACTED
from clawkeep_host.secret_names import ANCHOR, NONE, VARIABLE, WEAK, counts, harmless, lower, weight

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_NAME_LIMIT = 64  # characters of a name before and behind the word that makes it one
_NAME_REST = re.compile(rf"[\w.-]{{0,{_NAME_LIMIT}}}")
_QUOTE = re.compile(r"(\\*)([\"'])")
_CLOSING = {quote: re.compile(rf"[{quote}\n]") for quote in "\"'"}
_SIGN = re.compile(
    r"(?P<quoted>\\*[\"'])?[\])]{0,2}"
    r"(?:[ \t]{0,16}(?P<sign>=>|:=|={1,3}|:|%3[DdAa]|\\+u003[dDaA])[ \t]{0,16}"
    # {"name": NAME, "value": ...}, as Kubernetes lists variables, and the same in YAML
    r"|[\s,]{0,64}\\*[\"']?[Vv]alue\\*[\"']?\s{0,8}[=:]\s{0,8})"
)
# Behind an option: blanks, the NUL of /proc/PID/cmdline, the next item of a list, the next field of an audit record.
_NEXT = re.compile(r"\\*[\"']\s{0,64},\s{0,64}(?=\\*[\"'])|\\*[\"'] a\d{1,4}=|[\s\0]{1,16}(?!-)")
_TAG = re.compile(r"<(?:[\w.-]{1,60}:)?\Z")
_ELEMENT = re.compile(r"[^<>]{0,200}>(?P<value>[^<]+)(?=</)")
# A value without quotes. A comma or semicolon is its own, unless a blank, the end or a next setting follows.
_BARE = re.compile(r"(?:[^\s\"'\\&,;\0<>]|[,;](?![\s\"'\\]|\Z|[\w.-]{1,64}[=:])|\\(?![\"'nrtu\\]))+")
_ESCAPED = re.compile(r"(?:(?!%26)[^\s\"'\\&<>])+")
_LIST = re.compile(r"\[(?P<items>[^\[\]]*)")
_NO_STRING = re.compile(r"[^\s\"'\\,\[\]{}]+")  # of JSON: a number, true, null
_MASK = re.compile(r"\[(?:redacted|dropped[ \w]{0,16})\]")
_ITEM = re.compile(r"(?P<quote>(?<!\\)\\{0,15}[\"'])(?:(?!(?P=quote)).)*(?:(?P=quote))?|[^\s,\"'\\]+")
_BLOCK = re.compile(r"[|>][-+0-9]{0,2}[ \t]{0,16}\n(?P<indent>[ \t]+)[^\n]*(?:\n(?P=indent)[^\n]*)*")
_COOKIES = re.compile(r"(?:=\\*\"[^\"\\\r\n]*\\*\"|[^\"'\\\r\n])+")
_SCHEME = re.compile(r"(?:bearer|basic|digest|token|negotiate|ntlm|apikey|hmac|bot|key|hawk)[ \t]{1,8}", re.I)
_WORD = r"(?:[A-Za-z-]{2,32}=\\*\"[^\"\\\n]*\\*\"|[^\s\"'\\,;]+)"
_FIELDS = r"(?:,[ \t]{0,8}[\w-]{1,64}=(?:\\*\"[^\"\\\n]*\\*\"|[^\s\"'\\,]*))*"
_CREDENTIALS = re.compile(_WORD + _FIELDS)
_UNKNOWN_SCHEME = re.compile(rf"{_WORD}(?:[ \t]{{1,8}}{_WORD})?{_FIELDS}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?\Z")


def redact_settings(text: str) -> str:
    """`text` without the values that stand behind a secret's name."""
    text = _redact(text, lower(text), ANCHOR)
    return _redact(text, text, VARIABLE)


@dataclass(frozen=True)
class _Value:
    start: int
    end: int
    mark: str = REDACTED


@dataclass(frozen=True)
class _Name:
    """A name, and how its value is joined to it."""

    text: str
    colon: bool = False
    quoted: bool = False
    escaped: bool = False  # in an address within an address

    def harmless(self, value: str) -> bool:
        return harmless(self.text, value) or (bool(_NUMBER.match(value)) and (counts(self.text) or value in ("0", "1")))


def _redact(text: str, searched: str, anchor: re.Pattern[str]) -> str:
    """`text` without such values; `searched` is the text in the case that the pattern wants."""
    made: list[str] = []
    done = at = 0
    while True:
        found = anchor.search(searched, at)
        if found is None:
            return "".join([*made, text[done:]])
        rest = _NAME_REST.match(text, found.end())
        at = rest.end() if rest else found.end()
        before = text[max(done, found.start() - _NAME_LIMIT) : found.start()]
        begin = found.start() - len(before) + len(before.rstrip(_LETTERS))
        if text[begin - 1 : begin] == "\\" and text[begin] in "nrt" and begin < found.start():
            begin += 1  # the end of a line, as JSON has it
        value = _behind(text, begin, at)
        if value is not None:
            made += [text[done : value.start], value.mark]
            done = at = value.end


def _behind(text: str, begin: int, end: int) -> _Value | None:
    """The value of the name between `begin` and `end`; None when it has none, or is no secret's."""
    name = text[begin:end]
    heaviness = weight(name)
    if heaviness == NONE:
        return None
    before = text[begin - 1] if begin else ""
    if _TAG.search(text, max(0, begin - _NAME_LIMIT), begin):
        element = _ELEMENT.match(text, end)
        if element and not harmless(name, element["value"].strip()):
            return _Value(element.start("value"), element.end("value"))
    sign = _SIGN.match(text, end)
    if sign is None:
        following = _NEXT.match(text, end) if name.startswith("-") else None
        return _value(text, following.end(), _Name(name)) if following else None
    by = (sign["sign"] or "").upper()
    colon, quoted = by in (":", "%3A"), bool(sign["quoted"])
    if colon and not quoted and (heaviness == WEAK or before in ("/", "\\") or name.lower().endswith("cookies")):
        return None  # words before a colon in prose, or a path
    return _value(text, sign.end(), _Name(name, colon, quoted, by.startswith("%")))


def _value(text: str, at: int, name: _Name) -> _Value | None:
    quote = _QUOTE.match(text, at)
    if quote:
        start, end = quote.end(), _closing(text, quote)
        return None if name.harmless(text[start:end]) else _Value(start, end)
    if text.startswith("{", at):
        return None  # the names in it tell
    if text.startswith("[", at) and not _MASK.match(text, at):
        return _list(text, at, name)
    value = _bare(text, at, name)
    if value is None or name.harmless(value[0]):
        return None
    json = name.quoted and _NUMBER.match(value[0])  # what was JSON stays JSON
    return _Value(value.start(), value.end(), f'"{REDACTED}"' if json else REDACTED)


def _bare(text: str, at: int, name: _Name) -> re.Match[str] | None:
    """A value without quotes, as far as the kind of name says that it goes."""
    low = lower(name.text)
    if low.endswith("authorization"):
        scheme = _SCHEME.match(text, at)
        return _CREDENTIALS.match(text, scheme.end()) if scheme else _UNKNOWN_SCHEME.match(text, at)
    if low.endswith("cookie") and name.colon:
        return _COOKIES.match(text, at)
    if name.escaped:
        return _ESCAPED.match(text, at)
    if name.quoted:
        return _NO_STRING.match(text, at)
    return _BLOCK.match(text, at) or _BARE.match(text, at)


def _list(text: str, at: int, name: _Name) -> _Value | None:
    """The items of a flat list, each masked within its own quotes."""
    listed = _LIST.match(text, at)
    if listed is None:
        return None

    def masked(item: re.Match[str]) -> str:
        quote = item["quote"] or ""
        return item[0] if name.harmless(item[0].strip("\\\"'")) else quote + REDACTED + quote

    return _Value(listed.start("items"), listed.end("items"), _ITEM.sub(masked, listed["items"]))


def _closing(text: str, quote: re.Match[str]) -> int:
    """Where the string that `quote` opens ends: at its own quote on the same level of escapes, or with its line.

    A string within n strings has quotes behind 2**n - 1 backslashes; what is escaped in it has more, in steps of 2**n.
    """
    depth, at = len(quote[1]), quote.end()
    for other in _CLOSING[quote[2]].finditer(text, at):
        if other[0] == "\n":
            return other.start()
        before = text[at : other.start()]
        if (len(before) - len(before.rstrip("\\"))) % (2 * (depth + 1)) == depth:
            return other.start() - depth
        at = other.end()
    return len(text)
