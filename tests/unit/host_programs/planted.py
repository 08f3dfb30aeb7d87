"""Dummies of every look that `clawkeep_host.secret_looks` knows, made when tests run: none stands in the checkout."""

from __future__ import annotations

import base64
import hashlib
import string
from dataclasses import dataclass

WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Planted:
    """A dummy: the rule that knows it, the text that makes it recognisable, and the part that must not be left."""

    what: str
    text: str
    secret: str

    @property
    def alone(self) -> bool:
        """Whether it is recognised without anything around it."""
        return self.text == self.secret


def made(length: int, seed: str, letters: str = WORD) -> str:
    """Letters as random as a secret's, the same each time."""
    text, block = "", 0
    while len(text) < length:
        digest = hashlib.sha256(f"{seed} {block}".encode()).digest()
        text += "".join(letters[byte % len(letters)] for byte in digest)
        block += 1
    return text[:length]


def pem(kind: str, end: str = "PRIVATE KEY") -> str:
    """A private key in PEM."""
    body = "\n".join(made(64, f"{kind}{n}") for n in range(3))
    return f"-----BEGIN {kind}{end}-----\n{body}\n-----END {kind}{end}-----"


def jwt(parts: int = 3) -> str:
    """A JSON web token, or its beginning."""
    head, claims = ("eyJ" + made(length, f"jwt {length}") for length in (20, 50))
    return ".".join([head, claims, made(43, "signed")][:parts])


def _alone(what: str, *texts: str) -> list[Planted]:
    return [Planted(what, text, text) for text in texts]


def _headed(what: str, heads: str, length: int, letters: str = WORD) -> list[Planted]:
    """Dummies that begin with one of the words `heads`."""
    return _alone(what, *(head + made(length, head, letters) for head in heads.split()))


def _within(what: str, secret: str, *texts: str) -> list[Planted]:
    """One dummy in texts that have `{}` in its place."""
    return [Planted(what, text.replace("{}", secret), secret) for text in texts]


_SCRYPT = f"scrypt$15$8$1${made(32, 'salt', HEX)}${made(64, 'hash', HEX)}"
_ADDRESS = "password in an address; it may hold @ or, where no port stands there, a slash"
_PEM = "private key in PEM, of OpenSSH or PGP; on one line or cut off, too"
_HASH = "password hash"
_LOGIN = base64.b64encode(f"ada:{made(18, 'login')}".encode()).decode()

PLANTED: list[Planted] = [
    *_alone(_PEM, *(pem(kind) for kind in ("", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED ", "SSH2 ENCRYPTED "))),
    *_alone(_PEM, pem("PGP ", "PRIVATE KEY BLOCK"), pem("RSA ").replace("\n", "\\n"), pem("EC ")[:150]),
    *_within(
        "private key of PuTTY",
        "\n".join(made(64, f"putty{n}") for n in range(2)),
        "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: 2\n{}\nPrivate-MAC: 00",
    ),
    *_headed("key of age", "AGE-SECRET-KEY-1 AGE-PLUGIN-YUBIKEY-1", 58, UPPER),
    *_within(
        _ADDRESS,
        "Xy7-kq!" + made(9, "address"),
        *("https://ada:{}@host.example/x", "https://:{}@host.example", "postgres://ada:{}@db.example.org:5432/x?ssl=1"),
        *("redis://:{}@[2001:db8::1]:6379/0", "amqps://oauth2:{}@host.example", "mongodb+srv://ada:{}@c.example/db"),
    ),
    *_within(_ADDRESS, "p@ss" + made(9, "at"), "postgres://ada:{}@db.example.org/x"),
    *_within(_ADDRESS, "pass/w?rd#" + made(9, "slash"), "postgres://ada:{}@db.example.org/x"),
    *_within(_ADDRESS, made(16, "php"), '"https:\\/\\/ada:{}@host.example\\/x"'),
    *_within("key as the user of an address", made(32, "user", HEX), "https://{}@errors.example/42"),
    *_within(
        "data source name of Go", "Xy7!kq" + made(9, "go"), "ada:{}@tcp(db.example:3306)/x", "ada:{}@unix(/run/x)/y"
    ),
    *_within(
        "line of .pgpass", "Xy7!kq" + made(9, "pgpass"), "db.example:5432:orders:ada:{}", "*.x.example:6432:*:ada:{}"
    ),
    *_within(
        "web hook of Slack",
        f"T{made(9, 'team', UPPER)}/B{made(9, 'hook', UPPER)}/{made(24, 'slack')}",
        *(
            "https://hooks.slack.com/services/{}",
            "https://hooks.slack.com/workflows/{}",
            "hooks.slack-gov.com/triggers/{}",
        ),
    ),
    *_within(
        "web hook of Discord",
        f"{made(18, 'hook', '123456789')}/{made(60, 'discord')}",
        *("https://discord.com/api/webhooks/{}", "https://discordapp.com/api/v10/webhooks/{}"),
        '"https:\\/\\/discord.com\\/api\\/webhooks\\/{}"',
    ),
    *_within(
        "web hook of Teams",
        f"{made(36, 'tenant', HEX)}@{made(36, 'group', HEX)}/Incoming/{made(32, 'in', HEX)}/{made(9, 'id', HEX)}",
        *("https://example.webhook.office.com/webhookb2/{}", "https://outlook.office.com/webhook/{}"),
        "https://outlook.office365.com/webhook/{}",
    ),
    *_within(
        "web hook of Google Chat or a Logic App",
        f"key={made(39, 'chat')}&token={made(43, 'space')}",
        "https://chat.googleapis.com/v1/spaces/AAAA/messages?{}",
        "https://prod-1.westeurope.logic.azure.com:443/workflows/0a/triggers/x?{}",
    ),
    *_alone("token of a Telegram bot, also in its address", "1234567890:AA" + made(33, "telegram")),
    *_within(
        "token of a Telegram bot, also in its address",
        "123456789:" + made(35, "any"),
        "https://api.telegram.example/bot{}/sendMessage",
    ),
    *_alone("token of a Telegram bot, also in its address", "1234567890%3AAA" + made(33, "telegram")),
    *_headed("token of Slack", " ".join(f"xox{letter}-" for letter in "abcdeoprs") + " xapp-1- xoxe.xoxp-1-", 40),
    *_alone("token of a Discord bot", *(f"{x}{made(25, x)}.{made(6, 'when')}.{made(38, 'bot')}" for x in "MNO")),
    *_headed("key id", "AKIA ASIA ABIA ACCA", 16, UPPER),
    *_headed("API key", "AIza", 35),
    *_headed("OAuth token or client secret", "ya29. ya29.a0 1//0 GOCSPX-", 40),
    *_within(
        "signature of a shared access address",
        made(43, "sas") + "%3D",
        "https://x.blob.core.example/c?sv=2024&se=2030&sig={}",
        "https://x.blob.core.example/c?sig={}&sv=2024",
    ),
    *_alone("client secret", f"{made(3, 'az')}8Q~{made(34, 'azure')}"),
    *_headed("token of DigitalOcean", "dop_v1_ doo_v1_ dor_v1_", 64, HEX),
    *_headed("token of Databricks", "dapi", 32, HEX),
    *_headed("token of Heroku, Fly or Doppler", "HRKU- fm1_ fm2_ fo1_ dp.pt. dp.st. dp.ct.", 40),
    *_within("token of Heroku, Fly or Doppler", "fm2_" + made(60, "fly"), "FlyV1 {}"),
    *_headed("token of GitHub", "ghp_ gho_ ghu_ ghs_ ghr_", 36),
    *_headed("fine-grained token of GitHub", "github_pat_", 82),
    *_headed(
        "token of GitLab",
        "glpat- gloas- gldt- glrt- glrtr- glcbt-1_ glptt- glft- glimt- glagent- glsoat- glffct- glwt- GR1348941",
        20,
    ),
    *_headed("token of Bitbucket or Atlassian", "ATBB ATCTT3 ATATT3", 60),
    *_headed("token of npm, PyPI, Docker or RubyGems", "npm_ pypi- dckr_pat_ dckr_oat_ rubygems_", 36),
    *_headed("key of Stripe", "sk_live_ sk_test_ rk_live_ rk_test_ whsec_", 24),
    *_headed(
        "token of Square, Braintree or Shopify",
        "sq0atp- sq0csp- access_token$production$ access_token$sandbox$ shpat_ shpca_ shppa_ shpss_",
        32,
    ),
    *_alone("key of SendGrid", f"SG.{made(22, 'grid')}.{made(43, 'send')}"),
    *_headed("key of Brevo, MailerSend or Resend", "xkeysib- xsmtpsib- mlsn. re_", 40),
    *_alone("key of Mailgun or Mailchimp", f"key-{made(32, 'gun', HEX)}", f"{made(32, 'chimp', HEX)}-us12"),
    *_headed("key of Twilio", "SK", 32, HEX),
    *_headed(
        "key of OpenAI, Anthropic, OpenRouter and others", "sk- sk-proj- sk-svcacct- sk-ant-api03- sk-or-v1- sk-lf-", 40
    ),
    *_headed("key of xAI, Groq, Hugging Face, Replicate, Perplexity or Nvidia", "xai- gsk_ hf_ r8_ pplx- nvapi-", 40),
    *_headed("token of Vault", "hvs. hvb. hvr.", 90),
    *_headed("key of Tailscale", "tskey-auth- tskey-api- tskey-client-", 30),
    *_headed(
        "token of Grafana, New Relic, Sentry, Linear, Notion, Figma, Postman, Supabase or PlanetScale",
        "glc_ glsa_ NRAK- sntrys_ sntryu_ lin_api_ ntn_ figd_ PMAK- sbp_ pscale_tkn_ pscale_pw_",
        40,
    ),
    *_within(
        "bearer token",
        made(40, "bearer"),
        "Bearer {}",
        "bearer {}",
        "BEARER {}",
        "Bearer%20{}",
        "Bearer+{}",
        "it is Bearer {}",
    ),
    *_within("name and password of basic authentication", _LOGIN, "Basic {}", "basic {}", "BASIC {}", "Basic%20{}"),
    *_alone("JSON web token", jwt(), jwt(2), jwt() + "." + made(20, "jwe") + "." + made(20, "tag")),
    *_within("JSON web token", jwt(), "session_{}", "x-session-id_{}"),
    *_alone(
        _HASH,
        *(f"${kind}${made(8, kind)}${made(86, kind)}" for kind in ("1", "5", "6", "apr1", "sha1", "md5")),
        *(f"${kind}$12${made(53, kind)}" for kind in ("2", "2a", "2b", "2x", "2y", "bcrypt-sha256")),
        *(f"${kind}$j9T${made(22, kind)}${made(43, kind)}" for kind in ("y", "gy", "7", "scrypt")),
        *(f"$argon2{kind}$v=19$m=65536,t=3,p=4${made(22, kind)}${made(43, kind)}" for kind in ("", "d", "i", "id")),
        *(f"$pbkdf2{kind}$29000${made(22, kind)}${made(43, kind)}" for kind in ("", "-sha256", "-sha512")),
        *(f"$8${made(14, 'cisco')}${made(43, 'cisco')}", f"$9${made(14, 'nine')}${made(43, 'nine')}", _SCRYPT),
        f"SCRAM-SHA-256$4096:{made(22, 'scram')}==${made(43, 'stored')}=:{made(43, 'server')}=",
        *(
            f"pbkdf2:sha256:600000${made(16, 'w')}${made(64, 'w', HEX)}",
            f"scrypt:32768:8:1${made(16, 's')}${made(128, 's', HEX)}",
        ),
        *(f"{{{kind}}}{made(32, kind)}" for kind in ("SSHA", "SSHA512", "SMD5")),
    ),
    *_headed("dummy that a measurement planted", "clawkeep-canary-", 32, HEX),
    *_within(
        "password behind -p of sshpass",
        "Xy7!kq" + made(9, "ssh"),
        "sshpass -p {} ssh ada@host",
        "/usr/bin/sshpass -p{} scp",
    ),
    *_within(
        "password behind -p of mysql",
        "Xy7!kq" + made(9, "my"),
        *(
            "mysql -u root -p{} db",
            "mysqldump -h db.example -p{}",
            "mariadb-dump -uroot -p{}",
            "mysqladmin -p'{}' status",
        ),
    ),
    *_within(
        "password behind -p of mongo", "Xy7!kq" + made(9, "mongo"), "mongosh -u ada -p {}", "mongodump -u ada -p {}"
    ),
    *_within("password behind -p of useradd", "Xy7!kq" + made(9, "add"), "useradd -m -p {} ada", "usermod -p {} ada"),
    *_within(
        "password behind -p of login",
        "Xy7!kq" + made(9, "docker"),
        *("docker login -u ada -p {} registry.example", "helm registry login -u ada -p {}", "az login -u ada -p {}"),
    ),
    *_within("password behind -a of redis-cli", "Xy7!kq" + made(9, "redis"), "redis-cli -h cache.example -a {} ping"),
    *_within(
        "password behind -w of ldap", "Xy7!kq" + made(9, "ldap"), "ldapsearch -D cn=x -w {} -b dc=y", "ldapwhoami -w {}"
    ),
    *_within(
        "password behind -u|-U|--user|--proxy-user of curl",
        "Xy7!kq" + made(9, "curl"),
        *(
            "curl -u ada:{} https://host.example",
            "curl -sS --user ada:{} x",
            "curl --proxy-user ada:{} x",
            "curl -U ada:{} x",
        ),
        *("curl -u 'ada:{}' https://host.example", "curl --user=ada:{} x"),
    ),
]
