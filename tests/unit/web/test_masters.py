"""Which processes are the host's nginx: what a container calls itself is not the host's."""

from __future__ import annotations

import os

import pytest

from clawkeep.collector import proc, web

TITLES = {
    3026: "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;",
    3027: "nginx: worker process",
    4711: "nginx: master process nginx -c /srv/share/nginx.conf",
    5000: "nginx: master process nginx -g daemon off;",
    6000: "nginx: master process /usr/sbin/nginx",
}
NAMESPACES = {5000: "pid:[4026532999]", 6000: None}  # another one, and one that cannot be told


def test_a_masters_title_tells_how_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proc, "pids", lambda: [1, *TITLES])
    monkeypatch.setattr(web, "cmdline", lambda pid: TITLES.get(pid, "/sbin/init").split())
    monkeypatch.setattr(proc, "namespace", lambda pid, kind: NAMESPACES.get(pid, f"{kind}:[4026531836]"))
    assert web.masters() == [{"pid": pid, "title": TITLES[pid]} for pid in (3026, 4711, 6000)]


def test_a_processs_namespace_is_told_and_none_of_one_that_has_gone() -> None:
    assert (proc.namespace(os.getpid(), "pid") or "").startswith("pid:[")
    assert proc.namespace(2**22 + 1, "pid") is None
