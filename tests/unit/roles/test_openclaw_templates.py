"""The gateway's configuration and Compose project: what every tier has in common, whatever its values are."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from .conftest import ROOT, read

CANDIDATE = "etc/clawkeep/openclaw/candidate"
IMAGE = {"openclaw_image_id": "sha256:" + "a" * 64}
TIERS = sorted((ROOT / "playbooks/group_vars").glob("tier*.yml"))

Render = Callable[..., str]


@pytest.fixture(params=[None, *TIERS], ids=["defaults", *(path.stem for path in TIERS)])
def values(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The role's defaults alone, and with each tier's values."""
    tier = read(request.param) if request.param else {}
    return IMAGE | {key: value for key, value in tier.items() if key.startswith("openclaw_")}


def configuration(render: Render, values: dict[str, Any]) -> Any:
    return json.loads(render("openclaw", f"{CANDIDATE}/openclaw.json.j2", **values))


def service(render: Render, values: dict[str, Any]) -> Any:
    return yaml.safe_load(render("openclaw", f"{CANDIDATE}/compose.yml.j2", **values))["services"]["gateway"]


def test_the_gateway_always_asks_for_its_token(render: Render, values: dict[str, Any]) -> None:
    auth = configuration(render, values)["gateway"]["auth"]
    assert auth["mode"] == "token"
    assert auth["token"] == {"source": "env", "provider": "default", "id": "OPENCLAW_GATEWAY_TOKEN"}
    assert auth["rateLimit"]["exemptLoopback"] is False


def test_commands_are_never_left_to_the_default(render: Render, values: dict[str, Any]) -> None:
    tools = configuration(render, values)["tools"]
    assert tools["exec"]["security"] in ("deny", "allowlist")
    assert tools["exec"]["ask"] == "always"
    assert tools["exec"]["host"] == "sandbox"
    assert tools["elevated"]["enabled"] is False
    assert {"group:runtime", "group:fs"} <= set(tools["deny"])


def test_an_allowed_tool_is_not_denied_with_its_group(render: Render) -> None:
    tools = configuration(render, IMAGE | {"openclaw_tools_allowed": ["web_fetch"]})["tools"]
    assert "group:web" not in tools["deny"]
    assert {"web_search", "x_search"} <= set(tools["deny"])
    assert "web_fetch" not in tools["deny"]


def test_plugins_are_a_list_or_off(render: Render) -> None:
    none = configuration(render, IMAGE | {"openclaw_memory_slot": "none"})["plugins"]
    one = configuration(render, IMAGE | {"openclaw_memory_slot": "memory-core"})["plugins"]
    assert (none["enabled"], none["allow"]) == (False, [])
    assert (one["enabled"], one["allow"]) == (True, ["memory-core"])


def test_the_container_is_confined(render: Render, values: dict[str, Any]) -> None:
    found = service(render, values)
    assert found["user"] == "1000:1000"
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in found["security_opt"]
    assert not {"cap_add", "privileged", "devices", "pid", "ipc", "network_mode"} & found.keys()
    assert found["mem_limit"] == found["memswap_limit"]
    assert all("noexec,nosuid,nodev,size=" in line for line in found["tmpfs"])


def test_every_port_is_published_on_loopback(render: Render, values: dict[str, Any]) -> None:
    assert service(render, values)["ports"] == ["127.0.0.1:18789:18789"]


def test_no_secret_is_in_either_file(render: Render, values: dict[str, Any]) -> None:
    found = service(render, values)
    assert found["env_file"] == "/etc/clawkeep/openclaw/gateway.env"
    assert not any(name.endswith(("TOKEN", "KEY", "PASSWORD")) for name in found["environment"])


def test_no_tool_that_agents_may_use_can_be_called_over_http(render: Render, values: dict[str, Any]) -> None:
    """OpenClaw records nothing of such a call (LOG-02), and takes no `*` for every tool."""
    found = configuration(render, values | {"openclaw_tools_allowed": ["message", "web_fetch", "memory_get"]})
    assert {"message", "web_fetch", "memory_get"} <= set(found["gateway"]["tools"]["deny"])


def test_the_stand_in_for_a_model_is_on_loopback_and_takes_no_models_place(
    render: Render, values: dict[str, Any]
) -> None:
    found = configuration(render, values | {"openclaw_model": "openai/some-model"})
    assert found["models"]["providers"]["clawkeep"]["baseUrl"].startswith("http://127.0.0.1:")
    assert found["agents"]["defaults"]["model"] == "openai/some-model"


def test_the_lab_image_is_first_started_with_tier_1s_configuration(render: Render) -> None:
    """OpenClaw migrates its state after every change of it, which an emulated processor is too slow for."""
    tier = read(ROOT / "playbooks/group_vars/tier1_personal.yml")
    values = IMAGE | {key: value for key, value in tier.items() if key.startswith("openclaw_")}
    started = json.loads((ROOT / "src/clawkeep/lab/openclaw/openclaw.json").read_text(encoding="utf-8"))
    assert started == configuration(render, values)
