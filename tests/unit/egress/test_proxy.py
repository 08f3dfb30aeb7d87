"""Proxy and name server as configured: each way in which they could differ from what was proved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.egress import worlds

from clawkeep.base.verdict import Unmeasured
from clawkeep.subjects.network.proxy import STARTED, Proxy

Render = Callable[..., str]
NAMES = ("allowed.example", "api.model.example")
EXEC = "{{ path={0} ; argv[]={1} ; ignore_errors=no ; start_time=[n/a] }}"
UNITS = f"""ExecStart={EXEC.format("/usr/sbin/squid", STARTED["proxy"])}
Id=clawkeep-proxy.service
ActiveState=active
DropInPaths=
NeedDaemonReload=no

ExecStart={EXEC.format("/usr/sbin/dnsmasq", STARTED["resolver"])}
Id=clawkeep-resolver.service
ActiveState=active
DropInPaths=
NeedDaemonReload=no

Id=squid.service
ActiveState=inactive"""


@pytest.fixture
def files(render: Render) -> dict[str, Any]:
    """The fact that the collector makes of the rendered configurations."""
    entries = [{"name": name, "port": 443, "reason": "r", "owner": "o", "review": "2099-01-01"} for name in NAMES]
    known = {"egress_proxy_domains": entries, "egress_proxy_resolvers": ["198.51.100.53"]}
    paths = {"proxy": "proxy/squid.conf", "resolver": "resolver/dnsmasq.conf"}
    texts = {name: render("egress_proxy", f"etc/clawkeep/{path}.j2", **known) for name, path in paths.items()}
    return {
        name: {
            "lines": [line for line in text.splitlines() if line.strip() and not line.startswith("#")],
            "uid": 0,
            "mode": 0o640,
            "running": True,
            "newer": False,
        }
        for name, text in texts.items()
    }


def proxy(files: Any, units: str = UNITS) -> Proxy:
    own = worlds.inside()
    own["facts"]["egress-files"] = files
    own["commands"]["egress-units"] = {"argv": ["systemctl"], "status": 0, "lines": units.splitlines()}
    return Proxy.read(worlds.host(own))


def test_what_the_role_renders_is_what_was_proved(files: dict[str, Any]) -> None:
    good = proxy(files)
    assert good.not_in_force() == good.weak_decision() == good.list_differs(NAMES) == []


@pytest.mark.parametrize(
    ("old", "new", "first"),
    [
        (
            "http_access deny !tunnel",
            "http_access allow approved",
            "decides in another way: `http_access allow approved`",
        ),
        ("http_access deny !tls_port", "http_access allow approved", "in another way: `http_access allow approved`"),
        ("http_access deny refused", "http_access deny manager", "decides in another way: `http_access deny manager`"),
        ("acl tls_port port 443", "acl tls_port port 443 22", "list tls_port is ['port 443 22'], not `port 443`"),
        ("acl tunnel method CONNECT", "acl tunnel method CONNECT GET", "list tunnel is ['method CONNECT GET'], not"),
        ("ssl_bump peek hello", "ssl_bump splice all", "handles TLS by `ssl_bump splice all`"),
        ("ssl_bump terminate all", "ssl_bump splice all", "handles TLS by `ssl_bump splice all`"),
        (
            "--client-requested allowed.example",
            "--client-requested forbidden.example",
            "TLS by `ssl_bump splice named ",
        ),
        ("acl approved dstdomain -n", "acl approved dstdom_regex", "compares names by `dstdom_regex "),
        (
            "dstdomain -n allowed.example",
            "dstdomain -n .allowed.example",
            "compares names by `dstdomain -n .allowed.ex",
        ),
        (" fc00::/7", "", "does not refuse names that lead to fc00::/7"),
        (" 64:ff9b::/96", "", "does not refuse names that lead to 64:ff9b::/96"),
        (" 169.254.0.0/16", " 169.254.169.254/32", "does not refuse names that lead to 169.254.0.0/16"),
        (" 100.64.0.0/10", "", "does not refuse names that lead to 100.64.0.0/10"),
    ],
)
def test_a_weaker_decision_is_told(files: dict[str, Any], old: str, new: str, first: str) -> None:
    assert any(old in line for line in files["proxy"]["lines"])
    files["proxy"]["lines"] = [line.replace(old, new) for line in files["proxy"]["lines"]]
    assert first in proxy(files).weak_decision()[0]


def test_other_lists_than_the_declared_one_are_told(files: dict[str, Any]) -> None:
    assert proxy(files).list_differs(NAMES[:1]) == [
        f"the proxy passes {NAMES[1]}, which nobody declared",
        f"the name server asks on for {NAMES[1]}, which nobody declared",
    ]
    (missing,) = proxy(files).list_differs([*NAMES, "third.example"])
    assert missing == "the proxy does not know the approved third.example"
    files["resolver"]["lines"].append("server=/forbidden.example/198.51.100.53")
    (more,) = proxy(files).list_differs(NAMES)
    assert more == "the name server asks on for forbidden.example, which nobody declared"


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("running", False, "clawkeep-{}.service is active, and the process that it started is gone"),
        ("newer", True, "the configuration of clawkeep-{}.service was changed after it had started"),
        ("uid", 1000, "the configuration of clawkeep-{}.service can be rewritten by others than root"),
        ("mode", 0o662, "the configuration of clawkeep-{}.service can be rewritten by others than root"),
        ("mode", 0o620, "the configuration of clawkeep-{}.service can be rewritten by others than root"),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["proxy", "resolver"])
def test_files_that_do_not_tell_what_runs_are_told(
    files: dict[str, Any], name: str, key: str, value: Any, said: str
) -> None:
    files[name][key] = value
    assert proxy(files).not_in_force() == [said.format(name)]


def test_units_that_were_changed_or_run_beside_it_are_told(files: dict[str, Any]) -> None:
    changed = UNITS.replace("DropInPaths=", "DropInPaths=/etc/x.conf", 1)
    assert proxy(files, changed).not_in_force() == ["clawkeep-proxy.service is changed by /etc/x.conf"]
    assert proxy(files, UNITS.replace("inactive", "active")).not_in_force() == ["squid.service runs beside it"]
    assert proxy(files, UNITS.replace("NeedDaemonReload=no", "NeedDaemonReload=yes", 1)).not_in_force()


@pytest.mark.parametrize("name", STARTED)
def test_the_role_starts_each_daemon_as_it_is_judged(render: Render, name: str) -> None:
    unit = render("egress_proxy", f"etc/systemd/system/clawkeep-{name}.service.j2")
    assert [line for line in unit.splitlines() if line.startswith("ExecStart=")] == [f"ExecStart={STARTED[name]}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("/etc/clawkeep/proxy/squid.conf", "/etc/squid/squid.conf"),
        ("/etc/clawkeep/resolver/dnsmasq.conf", "/etc/dnsmasq.conf"),
        ("dnsmasq.conf --pid-file=", "dnsmasq.conf --pid-file= --server=198.51.100.1"),
        ("ExecStart={ path=/usr/sbin/squid", "ExecStart={ argv[]=/bin/true ; }\nExecStart={ path=/usr/sbin/squid"),
    ],
)
def test_a_daemon_that_is_started_with_other_settings_is_told(files: dict[str, Any], old: str, new: str) -> None:
    assert old in UNITS
    assert len(proxy(files, UNITS.replace(old, new)).not_in_force()) == 1


def test_a_missing_configuration_is_told(files: dict[str, Any]) -> None:
    bare = proxy(files | {"resolver": None}).not_in_force()
    assert bare == ["clawkeep-resolver.service has no configuration"]


@pytest.mark.parametrize("value", [None, [], {"proxy": []}, {"proxy": {"lines": "x"}}])
def test_misshapen_files_are_unmeasured(value: Any) -> None:
    with pytest.raises(Unmeasured):
        proxy(value)


def test_a_missing_configuration_is_not_judged(files: dict[str, Any]) -> None:
    with pytest.raises(Unmeasured):
        proxy(files | {"proxy": None}).weak_decision()
    with pytest.raises(Unmeasured):
        proxy(files | {"proxy": None}).list_differs(NAMES)
