"""`clawkeep_host.redaction` takes out every secret in every form, and nothing else."""

from __future__ import annotations

import base64
import binascii
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from tests.unit.host_programs.planted import HEX, PLANTED, Planted, jwt, made, pem

from clawkeep.base import repo
from clawkeep_host import redaction, secret_looks
from clawkeep_host.redaction import DEPTH, REDACTED, TOO_DEEP, is_secret_name, redact, redact_text

CHECKOUT = repo.find(Path(__file__))
SECRET = "Xy7!kq" + made(9, "named")  # has no look of its own
BEFORE, BEHIND = "it said", "and went on"


def shown(value: Any) -> str:
    """Everything that a value would show, however it is written down."""
    return json.dumps(value) + json.dumps(value, ensure_ascii=False) + str(value)


# --- by look ----------------------------------------------------------------------------------------------------------


def wrapped(data: bytes) -> str:
    """As `base64` prints it."""
    text = base64.b64encode(data).decode()
    return "\n".join(text[at : at + 76] for at in range(0, len(text), 76))


FORMS: dict[str, Callable[[str], Any]] = {
    "bare": lambda text: text,
    "in a sentence": lambda text: f"{BEFORE} {text} {BEHIND}",
    "in quotes": lambda text: f"{BEFORE} '{text}' {BEHIND}",
    "in a value": lambda text: {"note": text},
    "in a key": lambda text: {text: 1},
    "in a list": lambda text: ["run", [text]],
    "as NAME=value": lambda text: f"THING={text}",
    "in JSON": lambda text: json.dumps({"note": text, "more": BEHIND}),
    "in JSON within JSON": lambda text: json.dumps({"log": json.dumps({"note": text}), "more": BEHIND}),
    "in JSON that is cut off": lambda text: json.dumps({"log": json.dumps({"note": text})})[:-3],
    "in an argument": lambda text: ["run", f"--with={text}"],
    "in a command line": lambda text: f"run --with '{text}' --more",
    "in base64": lambda text: base64.b64encode(f"x {text} y".encode()).decode(),
    "in base64 for addresses": lambda text: (
        base64.urlsafe_b64encode(f"x {text} \xff\xfe y".encode()).decode().rstrip("=")
    ),
    "in base64 of UTF-16": lambda text: base64.b64encode(f"x {text} y".encode("utf-16-le")).decode(),
    "in base64 on lines": lambda text: f"{BEFORE}\n{wrapped(f'{text} {BEHIND}'.encode())}\n",
    "in base64 on lines in JSON": lambda text: json.dumps({"note": wrapped(f"{text} {BEHIND}".encode())}) + " ",
    "in base64 behind a path": lambda text: (
        f"https://host.example/v1/{base64.b64encode(f'x {text} y'.encode()).decode()}"
    ),
    "in base64 twice": lambda text: base64.b64encode(base64.b64encode(f"x {text} y".encode())).decode(),
    "in hex": lambda text: f"x {f'a {text} b'.encode().hex()} y",
    "in hex of an audit record": lambda text: f"type=PROCTITLE proctitle={f'run {text}'.encode().hex().upper()}",
}
# Of those that need nothing around them.
FORMS_ALONE: dict[str, Callable[[str], Any]] = {
    "behind the end of a line in JSON that is cut off": lambda text: json.dumps({"note": f"a\n{text}\nb"})[:-1],
    "behind an escape of JSON": lambda text: f'x {{"note": "a\\u003d{json.dumps(text)[1:-1]}"}}',
    "behind an escape of an address": lambda text: f"https://host.example/?next=%3Fx%3D{text}",
    "in base64 behind the end of a line in JSON": lambda text: (
        json.dumps(f"a\n{base64.b64encode(text.encode()).decode()}") + "x"
    ),
    "in base64 between bytes": lambda text: base64.b64encode(b"\x80\xff" + f"x {text} y".encode() + b"\0\xfe").decode(),
    "in base64 with a path behind it": lambda text: (
        f"/v1/{base64.b64encode(f'x {text} y'.encode()).decode().rstrip('=')}/more"
    ),
    "in base64 among other lines": lambda text: (
        f"/usr/lib/python3\n{base64.b64encode(text.encode()).decode()}\n/usr/bin/python3"
    ),
    "in hex behind 0x": lambda text: f"x 0x{f'a {text} b'.encode().hex()} y",
    "in hex behind the end of a line in JSON": lambda text: json.dumps(f"a\n{text.encode().hex()}") + "x",
    "in an odd run of hex": lambda text: f"x a{f'a {text} b'.encode().hex()}f y",
}
SHORT_SECRETS = 24  # characters above which a dummy is looked for in pieces


def pieces(secret: str) -> list[str]:
    """What must not be left of a dummy: itself, and the middle of a long one."""
    third = len(secret) // 3
    return [secret] if len(secret) <= SHORT_SECRETS else [secret, secret[third : 2 * third]]


@pytest.mark.parametrize("form", [*FORMS, *FORMS_ALONE])
def test_a_secret_is_gone_in_every_form(form: str) -> None:
    kept = []
    for planted in PLANTED if form in FORMS else [one for one in PLANTED if one.alone]:
        given = (FORMS | FORMS_ALONE)[form](planted.text)
        left = shown(redact(given))
        # Nor what hides it: of an encoded dummy, whatever word of the text is long enough.
        words = [word for word in planted_words(given, planted) if word in left]
        if words or REDACTED not in left:
            kept.append(f"{planted.what}: {words}")
    assert kept == []


def planted_words(given: Any, planted: Planted) -> list[str]:
    text = json.dumps(given)
    if planted.secret in text or json.dumps(planted.secret)[1:-1] in text:
        return [*pieces(planted.secret), json.dumps(planted.secret)[1:-1]]
    for between in ("\\\\n", "\\n", "/", '"', "="):
        text = text.replace(between, " ")
    return [word for word in text.split() if len(word) > SHORT_SECRETS]


@pytest.mark.parametrize("form", ["in a sentence", "in JSON", "in JSON within JSON"])
def test_what_stands_around_a_secret_stays(form: str) -> None:
    """But behind a private key that nothing ends: there it may go on."""
    for planted in PLANTED:
        if planted.text.startswith("-----BEGIN") and "-----END" not in planted.text:
            continue
        left = shown(redact(FORMS[form](planted.text)))
        assert BEHIND in left, planted.what
        before = planted.text.partition(planted.secret)[0].replace("\\", "")
        assert before.strip("'\" ")[:10] in left.replace("\\", ""), planted.what


def test_every_look_is_planted_and_every_class_of_the_register_has_one() -> None:
    assert {planted.what for planted in PLANTED} == {rule.what for rule in secret_looks.RULES}
    assert {rule.kind for rule in secret_looks.RULES} == set(secret_looks.KINDS)
    # The classes of INV-03, each by one dummy at least.
    assert set(secret_looks.KINDS) >= {"aws", "gcp", "azure", "ssh", "database", "git", "payment", "mail", "model"}


def test_every_beginning_of_a_look_is_planted() -> None:
    for rule in secret_looks.RULES:
        texts = [planted.text.lower() for planted in PLANTED if planted.what == rule.what]
        assert [hint for hint in rule.hints if not any(hint in text for text in texts)] == [], rule.what


@pytest.mark.parametrize("rule", secret_looks.RULES, ids=lambda rule: rule.what)
def test_each_look_is_known_by_its_own_rule(rule: secret_looks.Rule) -> None:
    """Without the others, so that none is there for nothing."""
    for planted in PLANTED:
        if planted.what == rule.what:
            left = rule.redact(planted.text, planted.text.lower())
            assert not any(piece in left for piece in pieces(planted.secret))
            assert left == planted.text.replace(planted.secret, REDACTED)
            assert rule.redact(left, left.lower()) == left


@pytest.mark.parametrize("head", ["x", "0", "Z"])
def test_the_end_of_a_word_is_no_beginning_of_a_secret(head: str) -> None:
    for text in (
        "AKIA" + "QWERTYUIOPASDFGH",
        "risk-management-of-the-whole",
        "sk-" + "a" * 20,
        "SK" + made(32, "s", HEX),
    ):
        assert redact_text(f"{head}{text}") == f"{head}{text}"


def test_redacting_again_changes_nothing() -> None:
    for planted in PLANTED:
        for form in FORMS.values():
            once = redact(form(planted.text))
            assert redact(once) == once


# --- by name ----------------------------------------------------------------------------------------------------------

NAMES = [
    *("password", "PASSWORD", "db_password", "dbPassword", "DB_PASS", "dbpass", "MYSQL_PWD", "PGPASSWORD", "passwd"),
    *("passphrase", "pass_phrase", "passcode", "token", "access_token", "accessToken", "X-Auth-Token", "GITHUB_TOKEN"),
    *("secret", "client_secret", "clientSecret", "SECRET_KEY_BASE", "secretKey", "aws_secret_access_key"),
    *("SecretAccessKey", "AWS_ACCESS_KEY_ID", "api_key", "apiKey", "API-KEY", "x-api-key", "apikey", "OPENAI_API_KEY"),
    *("STRIPE_KEY", "private_key", "PrivateKey", "PresharedKey", "pre-shared-key", "preSharedKey", "psk", "accountKey"),
    *("SharedAccessKey", "signing_key", "encryption-key", "MASTER_KEY", "TS_AUTHKEY", "credential", "credentials"),
    *("cookie", "session_cookie", "jwt", "authorization", "proxyAuthorization", "connectionString", "client-key-data"),
    *(
        "slack_webhook",
        "WEBHOOK_URL",
        "mnemonic",
        "auth",
        "_auth",
        "oauth",
        "vault_secret_id",
        "passwordHash",
        "token1",
    ),
    *("ocp-apim-subscription-key", "deploy_key", "admin_key", "storage_key", "requirepass", "smtp.password"),
]
NO_NAMES = [
    *(
        "name",
        "author",
        "authority",
        "tokenizer",
        "tokenized",
        "secretary",
        "bypass",
        "compass",
        "key",
        "hostkey",
        "keys",
    ),
    *(
        "SandboxKey",
        "PrivatePort",
        "authentication",
        "PasswordAuthentication",
        "authmethod",
        "token_file",
        "token_path",
    ),
    *("password_least", "passwordMinLength", "secret_name", "secrets_max_age_days", "max_tokens_limit", "token_type"),
    *("cookie_name", "api_key_id", "token_fingerprint", "tcp_syncookies", "LoadCredential", "ImportCredential", "pwd"),
    *("PWD", "OLDPWD", "proxy_pass", "PUBLIC_KEY", "CACHE_KEY", "PRIMARY_KEY", "public_key", "/etc/passwd", "keyboard"),
    *("/run/secrets/token", "apikeyboard", "", "-", "42", "password_stdin", "credential_helper", "KEY", "secrets_kind"),
    *("masterkeyword", "accountKeystone", "TOKEN_TTL"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_secrets(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name(f"--{name}")
    assert redact({name: SECRET}) == {name: REDACTED}
    assert redact([f"{name}={SECRET}, x"]) == [f"{name}={REDACTED}"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_name_is_no_secrets(name: str) -> None:
    assert not is_secret_name(name)
    assert redact({name: SECRET}) == {name: SECRET}
    if not name.startswith("/"):
        assert redact_text(f"{name}={SECRET}") == f"{name}={SECRET}"


@pytest.mark.parametrize("text", ["password: {}/", "password={}/", "token={}", "--token {}", '"password": "{}"/'])
def test_a_name_may_be_the_first_word_and_a_slash_the_last(text: str) -> None:
    left = redact_text(text.replace("{}", SECRET))
    assert SECRET not in left
    assert REDACTED in left


def test_the_kill_switch_lists_what_sounds_like_a_secret() -> None:
    """As `clawkeep-kill` had it: an environment variable that ends in one of these."""
    for end in ("TOKEN", "KEY", "SECRET", "PASSWORD", "PASSWD", "CREDENTIALS"):
        assert is_secret_name(f"MODEL_{end}")


E = '\\"'  # a quote within a string of JSON
NAMED: dict[str, str] = {
    "an assignment": "before password={} behind",
    "an assignment with blanks": "before password = {} behind",
    "a colon": "before password: {} behind",
    "an arrow": "before password => {} behind",
    "a definition": "before password := {} behind",
    "quotes": "before password='{}' behind",
    "JSON": '{"before": 1, "password": "{}", "behind": 2}',
    "JSON without blanks": '{"before":1,"password":"{}","behind":2}',
    "JSON within JSON": f'x {{"log": "{{{E}before{E}:1,{E}password{E}:{E}{{}}{E},{E}behind{E}:2}}"}}',
    "JSON within JSON, twice": r'x "{\"before\":\"{\\\"password\\\":\\\"{}\\\",\\\"behind\\\":2}\"}"',
    "a dict of Python's": "before {'password': '{}', 'behind': 2}",
    "the index of a dict": "before config['password'] = '{}' behind",
    "a list": 'before "passwords": ["{}", "{}"], "behind": 2',
    "a list within JSON": f'x "{E}before{E}: 1, {E}passwords{E}: [{E}{{}}{E}], {E}behind{E}"',
    "a list without quotes": "before passwords: [{}, {}] behind",
    "an option": "before --password {} --behind",
    "an option with a sign": "before --password={} --behind",
    "an option with one dash": "before -password {} -behind",
    "an option in quotes": "before --password '{}' --behind",
    "options in a list": 'before ["--password", "{}", "--behind"]',
    "options in a list within JSON": f'x "before [{E}--password{E}, {E}{{}}{E}, {E}--behind{E}]"',
    "a command line of /proc": "before\0--password\0{}\0--behind",
    "an environment of /proc": "before=1\0DB_PASS={}\0behind=1",
    "an audit record of a call": 'before a1="--password" a2="{}" a3="--behind"',
    "an element": "<before/><password>{}</password><behind/>",
    "an element with attributes": "<before/><db:password type='x'>{}</db:password><behind/>",
    "an address": "https://before.example/?password={}&behind=1",
    "an address within an address": "https://before.example/?next=%3Fpassword%3D{}%26behind",
    "a variable of a container": '"before", {"name": "DB_PASSWORD", "value": "{}"}, "behind"',
    "a variable in YAML": "before:\n  - name: DB_PASSWORD\n    value: {}\n  - name: behind\n",
    "a block in YAML": "before: 1\npassword: |\n  {}\n  {}\nbehind: 2\n",
    "a header": "before\nX-Auth-Token: {}\nbehind",
    "a connection string": "before Server=x;Password={};behind=1",
    "an escaped sign": r'before "password\u003d{}\u0026behind"',
    "an export": "before; export DB_PASS={} behind",
    "a key of a variable": "before STRIPE_KEY={} behind",
    "a comma within": "before password={},{};{} behind",
    "a backslash within": "before password={}\\{} behind",
    "quotes within": '{"before": 1, "password": "a\\"{}\\\\", "behind": 2}',
    "quotes within JSON within JSON": rf'x "{E}before{E}:1,{E}password{E}:{E}a\\\"{{}}\\\\{E},{E}behind{E}:2"',
    "quotes that nothing ends on their line": 'before password="{} {}\nbehind',
    "a list beside what is none": 'before "passwords": ["none", "{}"], "behind": 2',
    "a cookie as a setting": "before session_cookie={} behind",
    "a name behind a backslash": r"before \token={} behind",
    "quotes that nothing ends": 'before password="{} {}',
    "Authorization with a scheme": "before\nAuthorization: Bearer {}\nbehind",
    "Authorization with an unknown scheme": "before\nAuthorization: Custom {}\nbehind",
    "Authorization without a scheme": "before\nAuthorization: {}\nbehind",
    "Authorization with fields": 'before\nAuthorization: Digest username="{}", response="{}", uri="{}"\nbehind',
    "Authorization of AWS": "before\nAuthorization: AWS4-HMAC-SHA256 Credential={}, Signature={}\nbehind",
    "Authorization on a command line": "before curl -H 'Authorization: token {}' https://behind.example",
    "Proxy-Authorization": "before\nProxy-Authorization: Negotiate {}\nbehind",
    "Cookie": "before\nCookie: a={}; sid={}\nbehind",
    "Cookie in quotes": 'before\nCookie: a="{}"; sid={}\nbehind',
    "Set-Cookie": "before\nSet-Cookie: sid={}; Path=/; HttpOnly\nbehind",
    "Cookie on a command line": "before curl -H 'Cookie: sid={}; b={}' https://behind.example",
    "WireGuard": "[before]\nPrivateKey = {}\nPresharedKey = {}\n[behind]",
    "netrc": "before\npassword={}\nbehind",
    "npmrc": "before\n//registry.example/:_authToken={}\nbehind",
}


@pytest.mark.parametrize("way", NAMED)
def test_a_value_is_gone_behind_its_name_and_nothing_else(way: str) -> None:
    text = NAMED[way].replace("{}", SECRET)
    left = redact_text(text)
    assert SECRET not in left
    assert REDACTED in left
    assert "before" in left
    assert "behind" in left or way == "quotes that nothing ends"
    assert redact_text(left) == left


@pytest.mark.parametrize("way", NAMED)
def test_a_value_is_gone_behind_its_name_in_base64_and_hex(way: str) -> None:
    text = NAMED[way].replace("{}", SECRET)
    for hidden in (base64.b64encode(text.encode()).decode(), text.encode().hex()):
        assert redact_text(f"before {hidden} behind") == f"before {REDACTED} behind"
    field = redact_text(f"before proctitle={text.encode().hex().upper()} behind")
    assert SECRET not in field
    assert "before" in json.loads(field.removeprefix("before proctitle=").removesuffix(" behind"))


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ({"apiKeys": [SECRET, SECRET]}, {"apiKeys": [REDACTED, REDACTED]}),
        ({"apiKeys": [[SECRET], {"a": SECRET}]}, {"apiKeys": [[REDACTED], {"a": REDACTED}]}),
        ({"secrets": {"db": SECRET, "x": {"y": SECRET}}}, {"secrets": {"db": REDACTED, "x": {"y": REDACTED}}}),
        ({"password": 12345678, "pin": 12}, {"password": REDACTED, "pin": 12}),
        ({"password": 12.5}, {"password": REDACTED}),
        ({"credentials": {"user": "ada", "key": SECRET}}, {"credentials": {"user": "ada", "key": REDACTED}}),
        ({"token": {"source": "env", "id": "X"}}, {"token": {"source": "env", "id": "X"}}),
        (
            {"secret": {"mark": "ckmark01", "at": 1.5, "tried": ""}},
            {"secret": {"mark": "ckmark01", "at": 1.5, "tried": ""}},
        ),
        ([{"name": "DB_PASS", "value": SECRET}], [{"name": "DB_PASS", "value": REDACTED}]),
        ([{"Name": "API_KEY", "Value": SECRET}], [{"Name": "API_KEY", "Value": REDACTED}]),
        ([{"key": "token", "value": [SECRET]}], [{"key": "token", "value": [REDACTED]}]),
        ([{"name": "PORT", "value": "443"}], [{"name": "PORT", "value": "443"}]),
        ({"Env": [f"DB_PASS={SECRET} x"]}, {"Env": [f"DB_PASS={REDACTED}"]}),
        ({"Env": [f"export DB_PASS={SECRET} x"]}, {"Env": [f"export DB_PASS={REDACTED}"]}),
        ((SECRET, {"token": SECRET}), [SECRET, {"token": REDACTED}]),
        ({"auth": {"mode": "token", "token": SECRET}}, {"auth": {"mode": "token", "token": REDACTED}}),
        ({"log": json.dumps({"secrets": {"db": SECRET}})}, {"log": '{"secrets": {"db": "[redacted]"}}'}),
        ({"log": '{"secrets":{"db":"' + SECRET + '"}}'}, {"log": '{"secrets":{"db":"[redacted]"}}'}),
        ({"log": '{"password":12345678}'}, {"log": '{"password":"[redacted]"}'}),
        ({"log": 'x {"password":12345678}'}, {"log": 'x {"password":"[redacted]"}'}),
        # A number under a plural counts, a truth value tells whether there is one.
        ({"tokens": 4096, "total_tokens": 17}, {"tokens": 4096, "total_tokens": 17}),
        ({"tokens": ["4096", SECRET]}, {"tokens": [REDACTED, REDACTED]}),
        (
            {"password": True, "token": None, "secret": 0, "cookie": 1},
            {"password": True, "token": None, "secret": 0, "cookie": 1},
        ),
        ({"pass": 27, "auth": 3}, {"pass": 27, "auth": 3}),
        ({"password": "", "token": "none", "secret": "No"}, {"password": "", "token": "none", "secret": "No"}),
        ({"credentials": "test"}, {"credentials": "test"}),
        ({"credentials": "testament"}, {"credentials": REDACTED}),
        ({"passwd": "files systemd"}, {"passwd": REDACTED}),
        ({"passwd": "files"}, {"passwd": "files"}),
        ({1: "x", None: "y"}, {1: "x", None: "y"}),
    ],
)
def test_a_value_is_redacted_by_the_names_that_lead_to_it(value: Any, left: Any) -> None:
    assert redact(value) == left


@pytest.mark.parametrize(
    ("argv", "left"),
    [
        (["node", "x", "--password", SECRET, "y"], ["node", "x", "--password", REDACTED, "y"]),
        (["x", "--auth-token", SECRET], ["x", "--auth-token", REDACTED]),
        (["x", "-token", SECRET], ["x", "-token", REDACTED]),
        (["x", "--password=" + SECRET, "y"], ["x", "--password=" + REDACTED, "y"]),
        (["x", "--password", "-" + SECRET], ["x", "--password", REDACTED]),
        (["x", "--password", "--verbose"], ["x", "--password", "--verbose"]),
        (["x", "--password"], ["x", "--password"]),
        (["x", "--no-token", "yes"], ["x", "--no-token", "yes"]),
        (["x", "--token-file", "/run/x"], ["x", "--token-file", "/run/x"]),
        (["x", "--password", ["y"]], ["x", "--password", ["y"]]),
        (["node", "x", "-p", SECRET], ["node", "x", "-p", SECRET]),
        (["serve", "-p", SECRET], ["serve", "-p", REDACTED]),
        (["sshpass", "-p", SECRET, "ssh", "-p", "22"], ["sshpass", "-p", REDACTED, "ssh", "-p", "22"]),
        (["/usr/bin/mysql", "-u", "root", "-p", SECRET], ["/usr/bin/mysql", "-u", "root", "-p", REDACTED]),
        (["docker", "login", "-p", SECRET], ["docker", "login", "-p", REDACTED]),
        (["docker", "compose", "-p", "project"], ["docker", "compose", "-p", "project"]),
        (["redis-cli", "-a", SECRET], ["redis-cli", "-a", REDACTED]),
        (["curl", "-u", f"ada:{SECRET}"], ["curl", "-u", REDACTED]),
        (["curl", "--user", "ada"], ["curl", "--user", "ada"]),
        (["docker", "run", "-u", "1000:1000"], ["docker", "run", "-u", "1000:1000"]),
        (["mongosh", "--port", "1", "-p", SECRET], ["mongosh", "--port", "1", "-p", REDACTED]),
        *(
            (["serve", "-p", plain], ["serve", "-p", plain])
            for plain in (
                "22",
                "1-65535",
                "53,123",
                "127.0.0.1:80:80/tcp",
                "[::1]:80",
                "tcp",
                "ipv6-icmp",
                "/x",
                "./x",
                "-",
            )
        ),
        (["systemctl", "show", "-p", "ActiveState"], ["systemctl", "show", "-p", "ActiveState"]),
        (["logger", "-p", "authpriv.notice"], ["logger", "-p", "authpriv.notice"]),
        (["iptables", "-A", "x", "-p", "udplite"], ["iptables", "-A", "x", "-p", "udplite"]),
    ],
)
def test_an_argument_is_redacted_by_the_option_before_it(argv: list[Any], left: list[Any]) -> None:
    assert redact(argv) == left
    assert redact({"Cmd": argv}) == {"Cmd": left}


# --- what stays -------------------------------------------------------------------------------------------------------

DIGEST = made(64, "digest", HEX)
STAYS = [
    f"clawkeep/openclaw@sha256:{DIGEST}",
    f"sha256:{DIGEST}",
    DIGEST,
    made(40, "commit", HEX),
    f"/var/lib/docker/containers/{DIGEST}/{DIGEST}-json.log",
    f"/var/run/docker/netns/{made(12, 'netns', HEX)}",
    "SHA256:" + made(43, "fingerprint"),
    f"256 SHA256:{made(43, 'fingerprint')} ada@host (ED25519)",
    f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA{made(43, 'public')} ada@host",
    f"sk-ssh-ed25519@openssh.com AAAAGnNrLXNzaC1lZDI1NTE5{made(60, 'sk')}",
    "casignaturealgorithms ssh-ed25519,sk-ssh-ed25519@openssh.com,sk-ecdsa-sha2-nistp256@openssh.com,rsa-sha2-512",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "-----BEGIN CERTIFICATE-----\nMIIB" + made(60, "certificate") + "\n-----END CERTIFICATE-----",
    "-----BEGIN PUBLIC KEY-----\nMIIB" + made(60, "public") + "\n-----END PUBLIC KEY-----",
    "age1" + made(58, "recipient", "qpzry9x8gf2tvdw0s3jn54khce6mua7l"),
    "gpg key 4AEE18F83AFDEB23, key id 0x" + made(16, "gpg", HEX),
    "passwordauthentication no",
    "PasswordAuthentication no\npermitemptypasswords no\npubkeyauthoptions none",
    "passwd:         files systemd",
    "passwd: files",
    "/etc/passwd: world-readable",
    "cachemgr_passwd none server_list",
    "hostkey /etc/ssh/ssh_host_ed25519_key",
    "/etc/clawkeep/openclaw/gateway-token",
    "/etc/clawkeep/kill.d/10-gateway-token",
    "tls-key=/etc/clawkeep/proxy/unused.key",
    "ssl_certificate_key /etc/clawkeep/web/key.pem;",
    'proxy_set_header Cookie "";',
    "proxy_set_header Cookie $http_cookie;",
    "# The gateway has no use for cookies: it neither sees the session's nor sets one of its own.",
    "-w /etc/passwd -p wa -k clawkeep-accounts",
    "-A DOCKER-USER -i eth0 -p tcp -m tcp --dport 22 -j DROP",
    "docker run -p 127.0.0.1:3000:3000 -u 1000:1000 x",
    "net.ipv4.tcp_syncookies = 1",
    "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1 user=ada",
    "the tokenizer: fast",
    "PASS: test of the parser",
    "auth: info: the password was accepted",
    "max_tokens: 4096, completion_tokens=17",
    "http://[2001:db8::1]:3128/a@b",
    "http://proxy.example:3128/a@b",
    "https://ada@host.example/x",
    "ssh://somebody-with-a-rather-long-name@host.example/x",
    "ssh://git@host.example:22/x",
    "git@host.example:ada/x.git",
    "tcp://127.0.0.1:2375",
    "$1 and $2 are arguments of $6",
    "table inet clawkeep { chain input { type filter hook input priority 0; policy drop; } }",
    '{"left": {"meta": {"key": "iifname"}}, "op": "==", "right": "lo"}',
    "LoadCredential=smtp:/etc/clawkeep/smtp\nImportCredential=agetty.*",
    "HOME=/home/node\nPWD=/app\nOLDPWD=/",
    "127.0.0.1:5432 -> db:5432",
    "root:x:0:0:root:/root:/bin/bash",
    "a basic understanding, and basic YXV0aGVudGljYXRpb24=",
    "the bearer of this letter",
    "sk-learn",
    "SG.UTF-8",
    "credentials: none",
    "<password>none</password>",
    "a <b>token</b> of that kind</b>",
    "the token x>y</z",
    'x password = "none" "token": "", "secret": "No"',
    'x "tokens": ["1", "17"], "requested_by_token_auth":1, "token":0',
    "session_cookie = none",
    'x "credentials": {"user": "ada", "port": 5}',
    "credentials: {user: ada, port: 5}",
    "a token=[redacted] password: [dropped]",
    base64.b64encode(b"an everyday text without any secret, in base64").decode(),
    b"an everyday text, in hex".hex(),
    f"proctitle={b'nginx: worker process'.hex().upper()}",
    "eyJhbGciOiJIUzI1NiJ9",
    "clawkeep-canary-of-the-week",
]


@pytest.mark.parametrize("text", STAYS)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact_text(text) == text
    assert redact({"x": [text]}) == {"x": [text]}
    assert redact_text(f"before {text}") == f"before {text}"
    whole = json.dumps({"log": json.dumps({"x": text})})
    assert redact_text(whole) == whole


@pytest.mark.parametrize(
    "path",
    [*CHECKOUT.recorded.glob("*/hosts/*.json"), *CHECKOUT.sabotages.rglob("*.patch.json")],
    ids=lambda path: path.name,
)
def test_recorded_evidence_stays_as_it_is(path: Path) -> None:
    """What was recorded was redacted once; whatever changes now is evidence that would be lost."""
    document = json.loads(path.read_bytes())
    assert redact(document) == document


def test_lines_around_an_encoded_secret_stay() -> None:
    """But for one on either side, which may be part of the same block."""
    hidden = wrapped(f"{'x' * 70} password={SECRET} {'x' * 60}".encode())
    lengths = [len(line) for line in hidden.splitlines()]
    assert lengths[0] == lengths[1] == 76 > lengths[-1]
    above, below = "/usr/lib/" + "a" * 80, "/usr/lib/python3"
    left = redact_text("\n".join([above, above + "b", hidden, below, below + "x"])).splitlines()
    assert (left[0], left[-1]) == (above, below + "x")
    assert set(left[2:-2]) == {REDACTED}


@pytest.mark.parametrize("before", [40, 44, 48, 52, 56])
@pytest.mark.parametrize("above", ["", "/usr/lib/" + "a" * 80, "a" * 76, "b" * 20])
def test_no_line_break_of_base64_hides_a_secret(above: str, before: int) -> None:
    """Wherever it falls, and whatever word stands on the line above."""
    hidden = wrapped(f"{'x' * before} {jwt()}".encode())
    left = redact_text(f"{above}\n{hidden}")
    decodable = "".join(line for line in left.splitlines() if line != above and line != REDACTED)
    assert jwt()[:10] not in base64.b64decode(decodable + "=" * (-len(decodable) % 4)).decode("utf-8", "replace")
    assert not any(line in left for line in hidden.splitlines()[1:])


# --- hostile text -----------------------------------------------------------------------------------------------------


def nested(levels: int, inner: Any) -> Any:
    for _ in range(levels):
        inner = [inner]
    return inner


def test_what_is_nested_too_deeply_says_so() -> None:
    for inner in ({"password": SECRET}, [SECRET]):
        left = redact(nested(20_000, inner))
        for _ in range(DEPTH):
            (left,) = left
        assert left == TOO_DEEP
    assert redact(nested(DEPTH - 1, {"password": SECRET})) == nested(DEPTH - 1, {"password": REDACTED})
    assert redact(nested(DEPTH, [])) == nested(DEPTH, [])
    text = "[" * 100_000 + f'{{"password": "{SECRET}"}}'
    assert SECRET not in redact_text(text)
    assert redact_text(text).startswith("[" * 100_000)


@pytest.mark.parametrize("odd", ["\ud800", "\0", "\u0130", "\u212a", "\U0001f511", "e\u0301", "\r"])
def test_odd_characters_move_nothing(odd: str) -> None:
    text = f"{odd * 3} password={SECRET} {odd * 3} {jwt()} {odd}"
    assert redact_text(text) == f"{odd * 3} password={REDACTED} {odd * 3} {REDACTED} {odd}"
    assert redact({odd: odd}) == {odd: odd}


def test_two_keys_that_are_secrets_do_not_take_each_others_place() -> None:
    left = redact({jwt(): 1, jwt(2) + made(3, "x"): 2, "x": 3})
    assert sorted(left.values()) == [1, 2, 3]
    assert "eyJ" not in json.dumps(left)


def test_the_value_that_was_given_is_not_changed() -> None:
    value = {"password": SECRET, "x": [{"token": SECRET}]}
    before = json.dumps(value)
    redact(value)
    assert json.dumps(value) == before


def test_numbers_that_no_json_has_and_long_ones_do_no_harm() -> None:
    text = '{"a": NaN, "b": 1e999, "c": ' + "9" * 5000 + "}"
    assert redact_text(text) == text
    left = json.loads(redact_text(text[:-1] + f', "password": "{SECRET}"}}'))
    assert (left["a"], left["b"], left["c"], left["password"]) == ("NaN", "1e999", "9" * 5000, REDACTED)


def test_encodings_are_undone_as_often_as_is_said() -> None:
    text = f"password={SECRET}"
    for _ in range(redaction.LAYERS):
        text = base64.b64encode(text.encode()).decode()
        assert redact_text(text) == REDACTED


# Each of these, repeated, would keep a pattern busy for long that scans the same run of characters from each of its
# places. Together they take a few seconds.
HOSTILE = [
    *(
        "-a",
        "://:",
        "://a:",
        "-eyJ",
        "x_",
        "$1$",
        "TOKEN",
        "token:[",
        "token:'",
        '"token":"',
        "authorization: a ",
        "Cookie: ",
    ),
    *(
        "-----BEGIN ",
        "private-lines: 1\\n",
        "mysql ",
        "sshpass -p",
        "curl -u a",
        "a:",
        "SG.aaaaaaaaaaaaaaaaaaaa",
        "secret=,a",
    ),
    *(
        "YWJjZGVmZ2hpamts\n",
        "0a",
        "<token>",
        "token: |\n  x\n",
        "--token \0",
        '["--token",',
        "A_KEY",
        "a.b:5432:c:d:",
        "{",
    ),
]
LIMIT = 60  # seconds of processor time for all of them
# These need a beginning of their own: a string or a list that nothing ends.
OPENED = ['token:"' + "\\" * 999_999, "token:[" + "\\" * 400_000 + '"' + "\\" * 400_000, 'token:"' * 150_000]
PROGRAM = """
import sys
from clawkeep_host.redaction import redact_text
for text in {opened!r}:
    redact_text(text)
for text in {texts!r}:
    whole = (text * (60_000 // len(text)))[:60_000] + " TOKEN=0123456789abcdef hooks.slack @tcp( :5432: login"
    assert "0123456789abcdef" not in redact_text(whole), text
"""


def test_no_text_keeps_it_busy() -> None:
    program = PROGRAM.format(texts=HOSTILE, opened=OPENED)
    done = subprocess.run(
        [sys.executable, "-"],
        input=program,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT)),
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_mask_is_whole_when_a_text_is_cut_after_it() -> None:
    """The rule for whoever streams: redact, then cut."""
    text = f"{pem('RSA ')} {quote(jwt())}"
    for length in range(0, len(text), 7):
        left = redact_text(text)[:length]
        assert not any(piece in left for piece in (jwt()[:10], made(64, "RSA 0")[:10]))


# --- the edges of what is looked into ---------------------------------------------------------------------------------

PLACE = "https://hooks.slack.com/services/"
HOOK = f"{PLACE}T000/B000/dummydummydummy"


def times(encode: Callable[[bytes], bytes], number: int) -> str:
    raw = f"the address is {HOOK} today".encode()
    for _ in range(number):
        raw = encode(raw)
    return raw.decode()


@pytest.mark.parametrize("encode", [base64.b64encode, binascii.hexlify])
@pytest.mark.parametrize("number", range(1, redaction.LAYERS + 1))
def test_encodings_within_encodings_are_undone(encode: Callable[[bytes], bytes], number: int) -> None:
    assert redact_text(times(encode, number)) == REDACTED


def test_base64_in_the_hex_of_an_audit_record_is_undone() -> None:
    argument = binascii.hexlify(times(base64.b64encode, 1).encode()).decode()
    assert redact_text(f"proctitle={argument}") == f'proctitle="{REDACTED}"'


def test_two_blocks_of_one_run_of_lines_are_both_seen() -> None:
    block = base64.encodebytes(times(lambda raw: raw, 1).encode() * 3).decode().strip().splitlines()
    text = "\n".join([*block, *block])
    assert HOOK not in text
    assert {*redact_text(text).splitlines()} == {REDACTED}


def test_secrets_as_keys_keep_their_values_apart() -> None:
    keys = [f"{HOOK}{number}" for number in range(3)]
    assert redact(dict(zip(keys, "abc", strict=True))) == {
        f"{PLACE}{REDACTED}": "a",
        f"{PLACE}{REDACTED}*": "b",
        f"{PLACE}{REDACTED}**": "c",
    }
