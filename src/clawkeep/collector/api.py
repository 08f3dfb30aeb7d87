"""What the container engine answers on its own socket. Standard library only.

An answer costs a fraction of starting the docker command, whose plugins are started with it.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import threading
import weakref
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from clawkeep.collector.recorder import OUTPUT_LIMIT, Recorder
from clawkeep_host import engine_api

SOCKET = engine_api.SOCKET
SECONDS = 30.0

Listing = Callable[[], Any]


@contextlib.contextmanager
def _answer(path: str, wish: Optional[Dict[str, Any]] = None) -> "Iterator[http.client.HTTPResponse]":
    """The engine's answer to GET `path`, or to a POST of `wish`; raises OSError or ValueError when it breaks off."""
    connection = engine_api.Connection(SOCKET, SECONDS)
    try:
        if wish is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(wish), {"Content-Type": "application/json"})
        yield connection.getresponse()
    except http.client.HTTPException as problem:
        raise ValueError("the engine does not speak HTTP: %r" % problem) from None
    except FileNotFoundError:
        raise ValueError("there is no engine socket %s" % SOCKET) from None
    except socket.timeout:
        raise ValueError("the engine did not answer %s within %g s" % (path, SECONDS)) from None
    finally:
        connection.close()


def get(path: str) -> Any:
    """The JSON that the engine answers to GET `path`; raises OSError or ValueError when it gives none."""
    with _answer(path) as answer:
        text = answer.read(OUTPUT_LIMIT + 1)
        if answer.status != 200:
            raise ValueError("the engine answers %s with status %d" % (path, answer.status))
        if len(text) > OUTPUT_LIMIT:
            raise ValueError("the engine answers %s with more than the collector keeps" % path)
        return json.loads(text)


def post(path: str, wish: Dict[str, Any]) -> Any:
    """The JSON that the engine answers to a POST of `wish`, None for an empty answer; raises as `get` does.

    For experiments alone: what only reads has no use for it.
    """
    with _answer(path, wish) as answer:
        text = answer.read(OUTPUT_LIMIT)
        if answer.status >= 300:
            raise ValueError("the engine refuses %s: %s" % (path, _words(text)))
        return json.loads(text) if text.strip() else None


def _words(text: bytes) -> str:
    try:
        said = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        said = text.decode("utf-8", "replace")
    return " ".join(said.split())[-300:]


def ping() -> Tuple[int, Optional[str]]:
    """The status and the API's version with which the engine answers a ping; raises as `get` does."""
    with _answer("/_ping") as answer:
        return answer.status, answer.headers.get("Api-Version")


def record(rec: Recorder, key: str, path: str, listing: Listing) -> Any:
    """Keep under `key` the JSON value of `listing`, as the answer to a GET of `path`; None when there is none."""
    return rec.measure(key, ("curl", "--unix-socket", SOCKET, "http://docker" + path), listing)


def inspected(collection: str, query: str = "") -> List[Any]:
    """Every member of `containers` or `networks` as `docker inspect` shows it; one that goes meanwhile is left out."""
    found = []
    for member in get("/" + collection + query):
        try:
            one = get("/%s/%s" % (collection, member["Id"]) + ("/json" if collection == "containers" else ""))
        except ValueError:
            if any(still["Id"] == member["Id"] for still in get("/" + collection + query)):
                raise
            continue
        found.append(one)
    return found


_lock = threading.Lock()
_asked: "weakref.WeakKeyDictionary[Recorder, Dict[str, List[Dict[str, Any]]]]" = weakref.WeakKeyDictionary()


def _once(rec: Recorder, key: str, path: str, listing: Listing) -> List[Dict[str, Any]]:
    with _lock:
        known = _asked.setdefault(rec, {})
        if key not in known:
            value = record(rec, key, path, listing)
            known[key] = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
        return known[key]


def containers(rec: Recorder) -> List[Dict[str, Any]]:
    """Every container, stopped ones too, as `docker inspect` shows it; asked once, whichever part asks first."""
    path = "/containers/json?all=true"
    listing = functools.partial(inspected, "containers", "/json?all=true")
    return _once(rec, "docker-containers", path, listing)


def volumes(rec: Recorder) -> List[Dict[str, Any]]:
    """Every volume as `docker volume inspect` shows it; asked once."""
    return _once(rec, "docker-volumes", "/volumes", lambda: get("/volumes").get("Volumes") or [])


def networks(rec: Recorder) -> List[Dict[str, Any]]:
    """Every network as `docker network inspect` shows it; asked once."""
    return _once(rec, "docker-networks", "/networks", functools.partial(inspected, "networks"))


def published(rec: Recorder) -> List[Dict[str, Any]]:
    """What the engine lists of each running container, as `docker ps` reads it: name, and its ports."""
    return _once(
        rec,
        "docker-ps",
        "/containers/json",
        lambda: [
            {"name": str((one.get("Names") or [""])[0]).lstrip("/"), "ports": one.get("Ports") or []}
            for one in get("/containers/json")
        ],
    )
