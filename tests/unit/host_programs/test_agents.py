"""Agents are known by what they are, whatever they are called; what only mentions the product is none."""

from __future__ import annotations

from typing import Any

import pytest

from clawkeep_host import agents

AGENT_IMAGE = "sha256:" + "a" * 64
OTHER_IMAGE = "sha256:" + "b" * 64


def container(
    name: str = "x",
    *,
    image: str = OTHER_IMAGE,
    mounts: tuple[str, ...] = (),
    network: str = "bridge",
    **config: Any,
) -> dict[str, Any]:
    """A container as `docker inspect` shows it."""
    return {
        "Name": f"/{name}",
        "Id": name * 2,
        "Image": image,
        "Config": {"Image": "registry.example/tool:1", "Labels": {}, "Env": ["PATH=/bin"], "Cmd": ["sleep"], **config},
        "HostConfig": {"NetworkMode": network},
        "Mounts": [{"Destination": target} for target in mounts],
    }


UPSTREAM = {
    "com.docker.compose.project": "molbot",
    "com.docker.compose.service": "openclaw-gateway",
}


@pytest.mark.parametrize(
    ("one", "sign"),
    [
        (container(Labels={"clawkeep.role": "agent"}), "its labels say so"),
        (container(Labels={"clawkeep.role": "task"}), "its labels say so"),
        (container(Labels={"clawkeep.task": ""}), "its labels say so"),
        (container(Labels={"openclaw.sandbox": "1"}), "its labels say so"),
        (container("openclaw"), "it is called so"),
        (container("Clawdbot"), "it is called so"),
        (container(Labels={"com.docker.compose.project": "moltbot"}), "it is called so"),
        (container("molbot-openclaw-gateway-1", Labels=UPSTREAM), "it is called so"),
        (container(Image="openclaw:local"), "its image is called so"),
        (container(Image="ghcr.io/openclaw/openclaw@sha256:" + "c" * 64), "its image is called so"),
        (container(Image="registry.example:5000/mirror/moltbot:2026.1"), "its image is called so"),
        (container(Cmd=["openclaw", "gateway", "run"]), "it starts the program"),
        (container(Cmd="clawdbot gateway"), "it starts the program"),
        (container(Entrypoint=["/bin/sh", "-c", 'umask 077; exec openclaw "$@"']), "it starts the program"),
        (container(Entrypoint=["node", "/srv/openclaw.mjs"]), "it starts the program"),
        (container(Cmd=["node", "/app/node_modules/openclaw/dist/index.js"]), "it starts the program"),
        (container(Env=["OPENCLAW_STATE_DIR=/data"]), "its environment holds the program's settings"),
        (container(Env=["OPENCLAW_PACKAGED_COMPILE_CACHE_RESPAWNED"]), "its environment holds the program's settings"),
        (container(mounts=("/home/node/.openclaw",)), "it has the program's state folder"),
        (container(mounts=("/root/.clawdbot",)), "it has the program's state folder"),
    ],
)
def test_one_sign_is_enough(one: dict[str, Any], sign: str) -> None:
    assert agents.signs(one) == (sign,)
    assert agents.among([one]) == {agents.name_of(one)}


def test_the_process_gives_an_agent_away_that_nothing_else_does() -> None:
    one = container("nightly")
    assert agents.among([one], {"nightly": ["sh", "openclaw-gatewa"]}) == {"nightly"}
    assert agents.signs(one, ["openclaw-gatewa"]) == ("the program runs in it",)
    assert agents.among([one], {"another": ["openclaw-gatewa"]}) == set()


@pytest.mark.parametrize(
    "one",
    [
        {},
        {"Name": None, "Config": None, "Mounts": None},
        {"Config": {"Labels": [], "Env": "PATH", "Cmd": 3}, "Mounts": "none"},
        container("openclaw-ui"),
        container(Image="registry.example/openclaw/exporter:1"),
        container(Image="registry.example/not-openclaw"),
        container(Cmd=["backup", "/var/lib/openclaw/old"]),
        container(Cmd=["tail", "/var/log/openclaw.log"]),
        container(Env=["OPENCLAW_GATEWAY_URL=http://127.0.0.1:18789"]),
        container(mounts=("/srv/openclaw",)),
        container(Labels={"openclaw.sandbox": "0"}),
        container(Labels={"clawkeep.role": "check"}),
    ],
)
def test_what_only_mentions_the_product_is_no_agent(one: dict[str, Any]) -> None:
    assert agents.signs(one) == ()
    assert agents.among([one]) == set()


def test_the_image_of_an_agent_makes_agents() -> None:
    known = container("a", image=AGENT_IMAGE, Labels={"clawkeep.role": "agent"})
    twin, other = container("twin", image=AGENT_IMAGE), container("other")
    assert agents.among([twin, other, known]) == {"a", "twin"}
    assert agents.among([twin, other]) == set()


def test_containers_without_an_image_share_none() -> None:
    known, other = container("a", Labels={"clawkeep.role": "agent"}), container("other")
    del known["Image"], other["Image"]
    assert agents.among([known, other]) == {"a"}


def test_a_check_without_a_network_is_no_agent_and_one_with_a_network_is() -> None:
    labels = {"clawkeep.role": "check"}
    agent = container("a", image=AGENT_IMAGE, Labels={"clawkeep.role": "agent"})
    check = container("check", image=AGENT_IMAGE, network="none", Labels=labels, Image="openclaw:local")
    pretender = container("pretender", image=AGENT_IMAGE, Labels=labels)
    assert agents.among([agent, check, pretender]) == {"a", "pretender"}


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        ({"clawkeep.role": "task"}, True),
        ({"clawkeep.task": "7"}, True),
        ({"openclaw.sandbox": "1"}, True),
        ({"clawkeep.role": "agent"}, False),
        ({}, False),
    ],
)
def test_tasks_are_told_from_gateways(labels: dict[str, str], task: bool) -> None:
    assert agents.is_task(container(Labels=labels)) is task


@pytest.mark.parametrize(
    ("raw", "name"), [({"Name": "/a/b"}, "a/b"), ({"Name": "", "Id": "7"}, "7"), ({"Id": "7"}, "7"), ({}, "None")]
)
def test_a_container_is_called_by_its_name_else_its_id(raw: dict[str, str], name: str) -> None:
    assert agents.name_of(raw) == name
