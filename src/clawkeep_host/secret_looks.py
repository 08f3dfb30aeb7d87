"""Looks of secrets: one table of patterns for `redaction`, each with the class of credential that it belongs to.

Every pattern takes time linear in the text: it begins with a literal or at a place that no other start shares, and what
it repeats without a bound either succeeds or ends where the next start may stand.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass

REDACTED = "[redacted]"
# The classes of the register of secrets: clouds, SSH, databases, Git and packages, payment, mail, models. Beside them
# what opens chats, logins, VPNs and infrastructure, and the dummies of Clawkeep's own measurements.
KINDS = (
    *("aws", "gcp", "azure", "hosting", "ssh", "database", "git", "payment", "mail", "model"),
    *("chat", "login", "infrastructure", "clawkeep"),
)


@dataclass(frozen=True)
class Rule:
    """One look: its class (of KINDS), what it is, and a pattern; the pattern's group `keep` stays.

    The pattern is only tried on texts that hold one of `hints` (in lower case, compared without case), and only that is
    taken of what it finds to which the rule `applies`.
    """

    kind: str
    what: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    applies: Callable[[str], bool] = bool

    def redact(self, text: str, low: str) -> str:
        """`text` without such secrets; `low` is the same in lower case."""
        return self.pattern.sub(self._blank, text) if any(hint in low for hint in self.hints) else text

    def _blank(self, match: re.Match[str]) -> str:
        return (match.groupdict().get("keep") or "") + REDACTED if self.applies(match[0]) else match[0]


@dataclass(frozen=True)
class Option:
    """An option whose name does not say that a password follows, and the programs that take one there."""

    program: str  # pattern of its name, with a subcommand where that makes the difference
    option: str  # pattern
    hints: tuple[str, ...]
    joined: bool = False  # the password may follow without a blank
    user: bool = False  # it comes as `user:password`

    def rule(self) -> Rule:
        """The rule for a command line in a text."""
        blank = r"[ \t\0]{0,8}" if self.joined else r"[ \t\0=]{1,8}"
        user = r"[^\s:\"'\0]{1,100}:" if self.user else ""
        head = rf"(?<![\w.-])(?:{self.program})[ \t\0][^\n|;&]{{0,200}}?(?<=[ \t\0])(?:{self.option})"
        pattern = re.compile(rf"(?P<keep>{head}{blank}\\*[\"']?{user})(?!-)[^\s\"'\\\0]+")
        return Rule("login", f"password behind {self.option} of {self.hints[0]}", self.hints, pattern)


OPTIONS = (
    Option("sshpass", "-p", ("sshpass",), joined=True),
    Option(r"(?:mysql|mariadb)(?:[_-]?(?:dump|admin|import|check|show))?", "-p", ("mysql", "mariadb"), joined=True),
    Option(r"mongo(?:sh|dump|restore|export|import)?", "-p", ("mongo",)),
    Option(r"user(?:add|mod)", "-p", ("useradd", "usermod")),
    Option(r"(?:docker|podman|nerdctl|helm|oc|az|skopeo|buildah|crane)(?: registry)?[ \0]login", "-p", ("login",)),
    Option("redis-cli", "-a", ("redis-cli",)),
    Option(r"ldap(?:search|add|modify|delete|passwd|whoami)", "-w", ("ldap",)),
    Option("curl", "-u|-U|--user|--proxy-user", ("curl",), user=True),
)


_READABLE = re.compile(rb"[\t\n\r -~]{8}")


def unencoded(raw: bytes) -> str | None:
    """What encoded bytes say: UTF-8 or UTF-16, also between other bytes; None when there is nothing to be read."""
    if raw[1:2] == b"\0" or raw[3:4] == b"\0":
        raw = raw.replace(b"\0", b"")
    return raw.decode("utf-8", "replace") if _READABLE.search(raw) else None


def _is_login(text: str) -> bool:
    """Whether `Basic WORD` is a header's value: the word holds `user:password`."""
    word = _BASIC.sub("", text).rstrip("=")
    try:
        return b":" in base64.b64decode(word + "=" * (-len(word) % 4), validate=True)
    except binascii.Error:
        return False


_BASIC = re.compile(r"basic(?:[ \t]+|%20|\+)", re.I)


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


# What stands before something that is not in the middle of a word; an escape of JSON or of an address is no letter.
_ESCAPES = (r"(?<=\\[nrtbf])", r"(?<=\\u00[0-9A-Fa-f]{2})", r"(?<=%[0-9A-Fa-f]{2})")
_BEFORE = (r"(?<![A-Za-z0-9])", *_ESCAPES)
_NEW = f"(?:{'|'.join(_BEFORE)})"
_NEW_RUN = f"(?:{'|'.join((r'(?<![A-Za-z0-9_-])', *_ESCAPES))})"  # nor in the middle of words that _ and - join


def _prefixed(kind: str, what: str, body: str, *heads: str) -> Rule:
    """What begins with one of `heads`, not in the middle of a word, and goes on as `body` says.

    The literal comes before the look at what stands in front of it, so that searching for it is as fast as it can be.
    """
    starts = "|".join(
        f"{head}(?:{'|'.join(f'(?<={before}{head})' for before in _BEFORE)})" for head in map(re.escape, heads)
    )
    return Rule(kind, what, tuple(head.lower() for head in heads), re.compile(f"(?:{starts}){body}"))


def _shaped(kind: str, what: str, hints: str, pattern: str, applies: Callable[[str], bool] = bool) -> Rule:
    """What has a pattern of its own; `hints` are words."""
    return Rule(kind, what, tuple(hints.split()), re.compile(pattern), applies)


_SLASH = r"\\{0,7}/"  # JSON may escape it, and JSON within JSON again
_LINE = r"(?:\r?\n|(?:\\+r)?\\+n)"  # the end of one, also as JSON has it
_TO_END = r"(?:[\w.:@%~+=-]|\\{0,7}/)"  # of an address

RULES: tuple[Rule, ...] = (
    # What spans lines and may hold other looks comes first.
    _shaped(
        "ssh",
        "private key in PEM, of OpenSSH or PGP; on one line or cut off, too",
        "-----begin",
        r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
        r".*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)",
    ),
    _shaped(
        "ssh",
        "private key of PuTTY",
        "private-lines:",
        rf"(?P<keep>Private-Lines: ?\d{{1,4}}{_LINE})[A-Za-z0-9+/=]+(?:{_LINE}[A-Za-z0-9+/=]+(?={_LINE}|\Z|[\"\\]))*",
    ),
    _prefixed("ssh", "key of age", r"[0-9A-Za-z-]{20,}", "AGE-SECRET-KEY-", "AGE-PLUGIN-"),
    # In addresses.
    _shaped(
        "login",
        "password in an address; it may hold @ or, where no port stands there, a slash",
        ":/ :\\",
        rf"(?P<keep>:{_SLASH}{_SLASH}[^/\s:@\"'\[\]\\]*:)"
        r"(?:[^/\s\"'?#\\]+(?=@)|(?!\d{0,5}(?:[/?#\\]|$))[^\s\"'@\\]{1,200}(?=@))",
    ),
    _shaped("login", "key as the user of an address", "://", r"(?P<keep>://)[\w.~-]{20,}(?=@)", _has_digit),
    _shaped("database", "data source name of Go", "@tcp( @unix(", r"(?<=:)[^\s@\"':/]{1,200}(?=@(?:tcp|unix)\()"),
    _shaped(
        "database",
        "line of .pgpass",
        ":543 :6432:",
        r"(?P<keep>(?<![\w.*-])[\w.*-]{1,253}:(?:543\d|6432):[\w*.-]{1,63}:[\w*.-]{1,63}:)[^\s\"'\\]+",
    ),
    # Web hooks: whoever has the address may write.
    _shaped(
        "chat",
        "web hook of Slack",
        "hooks.slack",
        rf"(?P<keep>hooks\.slack(?:-gov)?\.com{_SLASH}(?:services|workflows|triggers){_SLASH}){_TO_END}+",
    ),
    _shaped(
        "chat",
        "web hook of Discord",
        "webhooks",
        rf"(?P<keep>discord(?:app)?\.com{_SLASH}api(?:{_SLASH}v\d{{1,2}})?{_SLASH}webhooks{_SLASH}){_TO_END}+",
    ),
    _shaped(
        "chat",
        "web hook of Teams",
        "webhook.office outlook.office",
        rf"(?P<keep>(?:webhook\.office|outlook\.office(?:365)?)\.com{_SLASH}webhook(?:b2)?{_SLASH}){_TO_END}+",
    ),
    _shaped(
        "chat",
        "web hook of Google Chat or a Logic App",
        "chat.googleapis.com logic.azure.com",
        r"(?P<keep>(?:chat\.googleapis|logic\.azure)\.com[\w./:\\-]{0,300}\?)[^\s\"'<>\\]+",
    ),
    _shaped(
        "chat",
        "token of a Telegram bot, also in its address",
        ":aa %3aaa /bot",
        rf"{_NEW}\d{{6,12}}(?::|%3[Aa])AA[\w-]{{30,}}|(?P<keep>/bot)\d{{6,12}}(?::|%3[Aa])[\w-]{{20,}}",
    ),
    _prefixed(
        "chat",
        "token of Slack",
        r"[\w.-]{10,}",
        *(f"xox{letter}-" for letter in "abcdeoprs"),
        *("xapp-", "xoxe."),
    ),
    _shaped(
        "chat",
        "token of a Discord bot",
        ".",
        rf"{_NEW_RUN}[MNO][\w-]{{23,27}}\.[\w-]{{6}}\.[\w-]{{27,40}}(?![\w-])",
    ),
    # Clouds and hosting.
    _prefixed("aws", "key id", r"[0-9A-Z]{16}(?![0-9A-Za-z])", "AKIA", "ASIA", "ABIA", "ACCA"),
    _prefixed("gcp", "API key", r"[\w-]{30,}", "AIza"),
    _prefixed("gcp", "OAuth token or client secret", r"[\w.-]{16,}", "ya29.", "1//0", "GOCSPX-"),
    _shaped("azure", "signature of a shared access address", "sig=", r"(?P<keep>[?&;]sig=)[^\s\"'&;\\<>]+"),
    _shaped("azure", "client secret", "8q~", rf"{_NEW}[\w.~-]{{3}}8Q~[\w.~-]{{31,34}}(?![\w.~-])"),
    _prefixed("hosting", "token of DigitalOcean", r"[0-9a-f]{40,}", "dop_v1_", "doo_v1_", "dor_v1_"),
    _prefixed("hosting", "token of Databricks", r"[0-9a-f]{32,}", "dapi"),
    _prefixed(
        "hosting",
        "token of Heroku, Fly or Doppler",
        r"[\w./+=,-]{20,}",
        *("HRKU-", "fm1_", "fm2_", "fo1_", "dp.pt.", "dp.st.", "dp.ct."),
    ),
    # Git, and packages.
    _prefixed("git", "token of GitHub", r"[A-Za-z0-9]{20,}", *(f"gh{letter}_" for letter in "pousr")),
    _prefixed("git", "fine-grained token of GitHub", r"\w{20,}", "github_pat_"),
    _prefixed(
        "git",
        "token of GitLab",
        r"[\w.-]{16,}",
        *("glpat-", "gloas-", "gldt-", "glrt-", "glrtr-", "glcbt-", "glptt-", "glft-", "glimt-", "glagent-", "glsoat-"),
        *("glffct-", "glwt-", "GR1348941"),
    ),
    _prefixed("git", "token of Bitbucket or Atlassian", r"[\w=.-]{20,}", "ATBB", "ATCTT3", "ATATT3"),
    _prefixed(
        "git",
        "token of npm, PyPI, Docker or RubyGems",
        r"[\w-]{16,}",
        *("npm_", "pypi-", "dckr_pat_", "dckr_oat_", "rubygems_"),
    ),
    # Payment and mail.
    _prefixed(
        "payment",
        "key of Stripe",
        r"[A-Za-z0-9]{10,}",
        *("sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"),
    ),
    _prefixed(
        "payment",
        "token of Square, Braintree or Shopify",
        r"[\w$-]{16,}",
        *("sq0atp-", "sq0csp-", "access_token$production$", "access_token$sandbox$"),
        *("shpat_", "shpca_", "shppa_", "shpss_"),
    ),
    _prefixed("mail", "key of SendGrid", r"[\w-]{16,}\.[\w-]{16,}", "SG."),
    _prefixed("mail", "key of Brevo, MailerSend or Resend", r"[\w-]{20,}", "xkeysib-", "xsmtpsib-", "mlsn.", "re_"),
    _shaped(
        "mail",
        "key of Mailgun or Mailchimp",
        "key- -us",
        rf"{_NEW}(?:key-[0-9a-f]{{32}}|[0-9a-f]{{32}}-us\d{{1,2}})(?![\w-])",
    ),
    _prefixed("chat", "key of Twilio", r"[0-9a-f]{32}(?![0-9A-Za-z])", "SK"),
    # Models. `sk-ssh-` and `sk-ecdsa-` begin the names of SSH's algorithms.
    _prefixed("model", "key of OpenAI, Anthropic, OpenRouter and others", r"(?!ssh-|ecdsa-)[\w-]{16,}", "sk-"),
    _prefixed(
        "model",
        "key of xAI, Groq, Hugging Face, Replicate, Perplexity or Nvidia",
        r"[\w-]{20,}",
        *("xai-", "gsk_", "hf_", "r8_", "pplx-", "nvapi-"),
    ),
    # Infrastructure.
    _prefixed("infrastructure", "token of Vault", r"[\w.-]{20,}", "hvs.", "hvb.", "hvr."),
    _prefixed("infrastructure", "key of Tailscale", r"[\w-]{10,}", "tskey-"),
    _prefixed(
        "infrastructure",
        "token of Grafana, New Relic, Sentry, Linear, Notion, Figma, Postman, Supabase or PlanetScale",
        r"[\w=+/-]{20,}",
        *("glc_", "glsa_", "NRAK-", "sntrys_", "sntryu_", "lin_api_", "ntn_", "figd_", "PMAK-", "sbp_"),
        *("pscale_tkn_", "pscale_pw_"),
    ),
    # Logins.
    _shaped(
        "login",
        "bearer token",
        "bearer",
        rf"(?P<keep>{_NEW}[Bb](?:earer|EARER)(?:[ \t]{{1,8}}|%20|\+))[\w.~+/=-]{{16,}}",
    ),
    _shaped(
        "login",
        "name and password of basic authentication",
        "basic",
        rf"(?P<keep>{_NEW}[Bb](?:asic|ASIC)(?:[ \t]{{1,8}}|%20|\+))[A-Za-z0-9+/]{{8,}}={{0,2}}",
        _is_login,
    ),
    _shaped(
        "login",
        "JSON web token",
        "eyj",
        rf"{_NEW_RUN}(?P<keep>(?:[A-Za-z0-9]*[_-]{{1,2}}){{0,8}})eyJ[\w-]{{8,}}\.[\w-]{{4,}}(?:\.[\w-]*)*",
    ),
    _shaped(
        "login",
        "password hash",
        "$ pbkdf2: scrypt: {ss {sm",
        r"\$(?:1|2[abxy]?|5|6|7|8|9|y|gy|apr1|sha1|md5|argon2i?d?|scrypt|pbkdf2(?:-sha\d+)?|bcrypt-sha256)"
        r"\$[A-Za-z0-9./$=,+-]{13,}"
        r"|scrypt\$\d{1,3}\$\d{1,3}\$\d{1,3}\$[0-9a-f]+\$[0-9a-f]+"
        r"|SCRAM-SHA-\d{1,3}\$\d{1,9}:[\w+/=$:]+"
        r"|(?:scrypt|pbkdf2)(?::\w{1,12}){1,4}\$[\w./+=-]+\$[\w./+=-]+"
        r"|\{(?:SSHA|SMD5)\d{0,3}\}[\w+/=]{16,}",
    ),
    _prefixed("clawkeep", "dummy that a measurement planted", r"[0-9a-f]{16,}", "clawkeep-canary-"),
    *(one.rule() for one in OPTIONS),
)
