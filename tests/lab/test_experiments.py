"""What only a lab may try: real attacks on the proven host, each with the proof that it works elsewhere."""

from __future__ import annotations

import pytest

from .conftest import HOST4, HOST6, Lab

pytestmark = pytest.mark.lab

PORT = 3999  # nobody declared it
GATEWAY_PORT = 18789


def serve(port: int) -> str:
    """Shell for a listener on every address of both families, until the unit `temporary` is stopped."""
    return f"systemd-run --quiet --collect --unit=temporary socat TCP6-LISTEN:{port},fork,ipv6only=0 EXEC:/bin/true"


def test_a_new_listener_of_the_host_is_dropped_from_outside(lab: Lab) -> None:
    """NET-06: a stranger's SYN to a service that nobody declared meets a drop, in both families."""
    lab.root(serve(PORT))
    lab.until(f"nc -z 127.0.0.1 {PORT} && nc -z ::1 {PORT}", "the listener answers on loopback")
    before = lab.counter("input_drop")
    assert not lab.connects("outsider", HOST4, PORT)
    assert not lab.connects("outsider", HOST6, PORT)
    assert lab.counter("input_drop") >= before + 2


def test_a_published_canary_stays_unreachable_though_docker_accepts_it(lab: Lab) -> None:
    """NET-07: `-p 0.0.0.0` makes Docker accept the port, and the forward chain drops what strangers send to it."""
    lab.root(
        f"docker run --detach --name canary --publish 0.0.0.0:{PORT}:{PORT} --publish '[::]:{PORT}:{PORT}'"
        f" --entrypoint socat clawkeep/probe:1 TCP6-LISTEN:{PORT},fork,ipv6only=0 EXEC:/bin/true"
    )
    address = lab.root("docker inspect --format '{{.NetworkSettings.IPAddress}}' canary").strip()
    lab.until(f"nc -z 127.0.0.1 {PORT} && nc -z {address} {PORT}", "the canary answers the host")
    assert f"--dport {PORT} -j ACCEPT" in lab.root("iptables -S DOCKER")
    before = lab.counter("forward_drop") + lab.counter("input_drop")
    for place in ("outsider", "neighbour"):
        assert not lab.connects(place, HOST4, PORT)
        assert not lab.connects(place, HOST6, PORT)
    assert lab.counter("forward_drop") + lab.counter("input_drop") >= before + 4


def test_a_neighbours_route_to_loopback_ends_at_the_guard(lab: Lab) -> None:
    """NET-05: `ip route add 127.0.0.1 via HOST` reaches the gateway of an unguarded Debian, and not of this host."""
    with lab.routed("neighbour", "127.0.0.1", HOST4):
        before = lab.counter("guard_drop")
        assert not lab.connects("neighbour", "127.0.0.1", GATEWAY_PORT)
        assert lab.counter("guard_drop") > before
        lab.expect_green("--no-turns")
        lab.root("nft delete table inet clawkeep && iptables -F DOCKER-USER")
        assert lab.connects("neighbour", "127.0.0.1", GATEWAY_PORT), "the attack works on no host, so it proves nothing"
        lab.root("clawkeep-firewall load")
        assert not lab.connects("neighbour", "127.0.0.1", GATEWAY_PORT)


def test_a_planted_setuid_program_gains_nothing_in_the_agent_container(lab: Lab) -> None:
    """CTR-04: a file that makes root of uid 1000 elsewhere changes nothing in the agent's container."""
    upper = lab.root("docker inspect --format '{{.GraphDriver.Data.UpperDir}}' openclaw").strip()
    lab.root(f"install --mode=4755 /usr/bin/id {upper}/planted")
    assert lab.root("docker exec openclaw /planted --user").strip() == "1000"
    free = (
        "docker run --rm --user 1000 --security-opt no-new-privileges=false --volume /opt/planted:/opt/planted"
        " --entrypoint /opt/planted/id clawkeep/probe:1 --user"
    )
    lab.root("mkdir /opt/planted && install --mode=4755 /usr/bin/id /opt/planted/id")
    assert lab.root(free).strip() == "0"


def test_a_fork_storm_stops_at_the_limit_and_the_host_answers(lab: Lab) -> None:
    """CTR-07: the agent cannot have more processes than its tier grants."""
    storm = "i=0; while [ $i -lt 2000 ]; do sleep 300 & i=$((i+1)); done"
    done = lab.ssh(f"docker exec openclaw sh -c '{storm}'", timeout=240)
    assert done.returncode != 0
    assert lab.answers()
    assert int(lab.cgroup("pids.events").split()[1]) > 0
    assert int(lab.cgroup("pids.current")) <= int(lab.cgroup("pids.max"))


def test_a_memory_storm_ends_itself_and_the_host_answers(lab: Lab) -> None:
    """CTR-07: what takes more memory than the tier grants is killed inside its own limit."""
    storm = "const kept = []; for (;;) kept.push(Buffer.alloc(1 << 26, 1))"
    done = lab.ssh(f"docker exec openclaw node -e '{storm}'", timeout=300)
    assert done.returncode != 0
    assert lab.answers()
    events = dict(line.split() for line in lab.cgroup("memory.events").splitlines())
    assert int(events["oom_kill"]) > 0
    assert lab.root("journalctl --dmesg --no-pager --grep 'Memory cgroup out of memory' | tail -n 1")
