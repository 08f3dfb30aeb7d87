"""The stand-ins, asked on loopback ports."""

import asyncio
import json
import smtplib
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from clawkeep.lab import records
from clawkeep.lab.topology import PLACES, SCENARIOS, SIEM, Lab
from clawkeep.lab.world import echo, http, mail, metadata, model, pki, services, siem, sites

JOURNAL = "requests.jsonl"


@contextmanager
def serving(app: http.Application, folder: Path, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    (server,) = http.start(app, ["127.0.0.1"], 0, http.Journal(folder / JOURNAL), tls)
    yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def ask(url: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - our own server
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.headers.get("Location") or ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


def test_metadata_gives_its_dummy_credential_to_any_asker(tmp_path: Path) -> None:
    with serving(metadata.Metadata(), tmp_path) as url:
        tree = f"{url}/latest/meta-data/iam/security-credentials/"
        status, role = ask(tree)
        assert (status, role.strip()) == (200, metadata.ROLE)
        assert json.loads(ask(f"{tree}{metadata.ROLE}")[1])["AccessKeyId"] == metadata.ACCESS_KEY
    lines = [json.loads(line) for line in (tmp_path / JOURNAL).read_text().splitlines()]
    assert [line["path"].rpartition("/")[2] for line in lines] == ["", metadata.ROLE]
    assert {line["peer"] for line in lines} == {"127.0.0.1"}


def test_metadata_speaks_the_second_version(tmp_path: Path) -> None:
    with serving(metadata.Metadata(), tmp_path) as url:
        assert ask(f"{url}/latest/api/token", "GET")[0] == 405
        assert ask(f"{url}/latest/api/token", "PUT")[0] == 400
        life = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        status, token = ask(f"{url}/latest/api/token", "PUT", **life)
        assert status == 200
        assert ask(f"{url}/latest/meta-data/", **{"X-aws-ec2-metadata-token": token})[0] == 200
        assert ask(f"{url}/latest/meta-data/", **{"X-aws-ec2-metadata-token": "guessed"})[0] == 401


@pytest.mark.parametrize(
    ("path", "header"),
    [
        ("/computeMetadata/v1/instance/service-accounts/default/token", {"Metadata-Flavor": "Google"}),
        ("/metadata/identity/oauth2/token?api-version=2018-02-01", {"Metadata": "true"}),
    ],
)
def test_metadata_asks_other_clouds_clients_for_their_header(tmp_path: Path, path: str, header: dict[str, str]) -> None:
    with serving(metadata.Metadata(), tmp_path) as url:
        assert ask(f"{url}{path}")[0] in (400, 403)
        assert "clawkeep-lab-dummy" in ask(f"{url}{path}", **header)[1]


def test_a_site_tells_who_asked_and_redirects_where_it_is_told(tmp_path: Path) -> None:
    with serving(sites.Site(), tmp_path) as url:
        assert json.loads(ask(f"{url}/page", Host="allowed.example")[1])["site"] == "allowed.example"
        target = "http://169.254.169.254/latest/"
        assert ask(f"{url}/redirect?to={target}") == (302, target)


def test_a_redirect_cannot_smuggle_headers(tmp_path: Path) -> None:
    with serving(sites.Site(), tmp_path) as url:
        assert ask(f"{url}/redirect?to=/a%0d%0aSet-Cookie:x") == (302, "/a")


def test_the_neighbour_echoes(tmp_path: Path) -> None:
    with serving(echo.Echo(), tmp_path) as url:
        assert json.loads(ask(f"{url}/x", "POST", b"hello")[1])["body"] == "hello"


def test_the_model_answers_whole_and_streamed(tmp_path: Path) -> None:
    bearer = {"Authorization": "Bearer dummy"}
    with serving(model.Model(), tmp_path) as url:
        assert ask(f"{url}/v1/models")[0] == 401
        assert json.loads(ask(f"{url}/v1/models", **bearer)[1])["data"][0]["id"] == model.MODEL
        chat = f"{url}/v1/chat/completions"
        whole = json.loads(ask(chat, "POST", b"{}", **bearer)[1])
        assert whole["choices"][0]["message"]["content"] == model.ANSWER
        streamed = ask(chat, "POST", b'{"stream": true}', **bearer)[1]
        assert streamed.endswith("data: [DONE]\n\n")
        assert ask(chat, "POST", b"{", **bearer)[0] == 400


def test_tls_is_trusted_by_the_labs_authority_alone(tmp_path: Path) -> None:
    certificate = pki.create(tmp_path, ["allowed.example"])
    assert certificate.stat().st_mode & 0o777 == 0o600
    with serving(sites.Site(), tmp_path, http.tls_context(certificate)) as url:
        port = int(url.rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # as the lab host's Python has it
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            trusting.wrap_socket(plain, server_hostname="allowed.example") as channel,
        ):
            assert channel.getpeercert()
        with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(url)


def test_mail_is_kept_and_not_delivered(tmp_path: Path) -> None:
    async def scene() -> None:
        (server,) = await mail.serve(http.Journal(tmp_path / JOURNAL), ["127.0.0.1"], 0)
        port = server.sockets[0].getsockname()[1]
        await asyncio.to_thread(_send, port)
        server.close()

    asyncio.run(scene())
    (line,) = (tmp_path / JOURNAL).read_text().splitlines()
    message = json.loads(line)
    assert message["recipients"] == ["someone@allowed.example"]
    assert "hello from the agent" in message["text"]


def _send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=5) as client:
        client.sendmail("agent@lab.example", ["someone@allowed.example"], "Subject: x\n\nhello from the agent\n")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_stand_in_listens_on_addresses_that_its_place_has(tmp_path: Path, scenario: str) -> None:
    lab = Lab(SCENARIOS[scenario], tmp_path)
    for service in services.of(lab):
        assert service.place in lab.places, service.name
        owned = {*(i.ip for i in service.place.addresses), *service.place.owns}
        assert set(service.addresses) <= owned, service.name
        assert all(isinstance(word, str) for word in service.argv(tmp_path))


def test_only_a_tier_that_sends_its_records_has_a_log_store(tmp_path: Path) -> None:
    assert Lab(SCENARIOS["tier1_personal"], tmp_path).places == PLACES
    assert [one.place for one in services.of(Lab(SCENARIOS["tier1_personal"], tmp_path)) if one.place is SIEM] == []
    team = Lab(SCENARIOS["tier2_team"], tmp_path)
    assert [one.ports for one in services.of(team) if one.place is SIEM] == [(6514,)]
    assert team.netns(SIEM) in team.namespaces


def test_the_log_stores_configuration_is_the_roles(tmp_path: Path) -> None:
    lab = Lab(SCENARIOS["tier2_team"], tmp_path)
    configuration = siem.prepare(tmp_path / "siem", records.credentials(lab), "tier2_team", "host.example", ["::1"])
    text = configuration.read_text(encoding="utf-8")
    assert 'tls.permittedPeer=["host.example"]' in text
    assert f'tls.caCert="{tmp_path}/log/ca.pem"' in text
    assert f'template(name="file" type="string" string="{tmp_path}/siem/store/' in text
    assert "{{" not in text
    assert json.loads((tmp_path / "siem" / "alerts.json").read_text(encoding="utf-8"))["alerts"]
    for path in (tmp_path / "siem").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_each_side_of_the_log_has_a_credential_that_only_its_owner_reads(tmp_path: Path) -> None:
    lab = Lab(SCENARIOS["tier2_team"], tmp_path)
    folder = records.credentials(lab)
    for who, name in ((records.STORE, "siem.example"), (records.HOST, "lab-tier2.example")):
        assert (folder / f"{who}.key").stat().st_mode & 0o777 == 0o600
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        own.load_cert_chain(folder / f"{who}.pem", folder / f"{who}.key")
        shown = x509.load_pem_x509_certificate((folder / f"{who}.pem").read_bytes())
        names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [name]
    before = (folder / "host.key").read_bytes()
    assert records.credentials(lab) == folder
    assert (folder / "host.key").read_bytes() == before  # the lab's disk holds it
