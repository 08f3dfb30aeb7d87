"""Rules in words: nft's JSON written the way nft's own language has it, near enough to recognise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def rendered(expressions: Sequence[Mapping[str, Any]]) -> str:
    """One rule's statements in one line."""
    return " ".join(filter(None, (_statement(item) for item in expressions)))


def _statement(item: Mapping[str, Any]) -> str:
    (key, body), *_ = item.items()
    match key:
        case "match":
            operator = {"==": "", "in": ""}.get(body["op"], f"{body['op']} ")
            return f"{_value(body['left'])} {operator}{_value(body['right'])}"
        case "counter":
            return f"counter name {body}" if isinstance(body, str) else "counter"
        case "jump" | "goto":
            return f"{key} {body['target']}"
        case "vmap":
            return f"{_value(body['key'])} vmap {_value(body['data'])}"
        case "log":
            return f'log prefix "{body["prefix"]}"' if isinstance(body, Mapping) and "prefix" in body else "log"
        case "limit":
            over = "over " if body.get("inv") else ""
            return f"limit rate {over}{body.get('rate')}/{body.get('per')}"
        case "dnat" | "snat" | "redirect":
            return f"{key} to {_target(body)}" if body else key
        case "mangle":
            return f"{_value(body['key'])} set {_value(body['value'])}"
        case "set":
            statements = " ".join(_statement(item) for item in body.get("stmt") or ())
            inner = f"{_value(body.get('elem'))} {statements}".strip()
            return f"{body.get('op')} {body.get('set')} {{ {inner} }}"
        case "xt":
            return f"xt {body.get('type')} {body.get('name')}" if isinstance(body, Mapping) else "xt"
    return key


def _target(body: Mapping[str, Any]) -> str:
    address, port = body.get("addr"), body.get("port")
    words = [_value(address)] if address is not None else []
    return "".join([*words, f":{_value(port)}" if port is not None else ""])


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ",".join(_value(item) for item in value)
    if not isinstance(value, Mapping):
        return str(value).lower() if isinstance(value, bool) else str(value)
    (key, body), *_ = value.items()
    match key:
        case "payload":
            return f"{body['protocol']} {body['field']}" if "protocol" in body else f"@{body.get('base')}"
        case "meta":
            return str(body["key"]) if body["key"] in ("iif", "oif", "iifname", "oifname") else f"meta {body['key']}"
        case "ct":
            return " ".join(filter(None, ["ct", body.get("dir"), str(body["key"])]))
        case "fib":
            return f"fib {' . '.join(body.get('flags') or ())} {body.get('result')}"
        case "prefix":
            return f"{body['addr']}/{body['len']}"
        case "range":
            return "-".join(_value(end) for end in body)
        case "concat":
            return " . ".join(_value(part) for part in body)
        case "set":
            items = body if isinstance(body, list) else [body]
            return "{ " + ", ".join(_entry(item) for item in items) + " }"
        case "elem":
            return _value(body.get("val"))
        case "&" | "|" | "^" | "<<" | ">>":
            return f" {key} ".join(_value(part) for part in body)
    return _statement(value)


def _entry(item: Any) -> str:
    if isinstance(item, list) and len(item) == 2:
        return f"{_value(item[0])} : {_value(item[1])}"
    return _value(item)
