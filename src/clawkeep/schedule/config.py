"""What a control node is told: /etc/clawkeep-verifier/schedule.yml, which role `verifier` writes.

Secrets are not in it: it names the files that hold them. A relative name is a credential of the systemd service, which
lies in $CREDENTIALS_DIRECTORY.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from clawkeep.base.errors import ClawkeepError, sentence
from clawkeep.site import period
from clawkeep.site.ledger import FILE, Period

SECRET_CAP = 8192  # bytes

Line = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Border(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Mail(_Border):
    """A mail server that takes our summaries. A password is never sent over a connection in clear."""

    host: Line
    port: Annotated[int, Field(gt=0, lt=65536)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Line
    recipients: Annotated[tuple[Line, ...], Field(min_length=1)]
    user: Line | None = None
    password_file: Path | None = None
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _guarded(self) -> Mail:
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together")
        if self.user is not None and self.security == "none":
            raise ValueError("a password goes over starttls or tls only")
        return self


class Webhook(_Border):
    """An https address that takes our summaries as JSON. The address is a secret itself: many carry a token."""

    url_file: Path
    token_file: Path | None = None
    ca_file: Path | None = None


class Config(_Border):
    """The settings of a control node. `limit_seconds` ends a run that hangs; `stale_after` counts periods."""

    schema_: Literal[1] = Field(alias="schema")
    node: Line
    inventory: Path
    state: Path
    period: Period
    keep: Annotated[int, Field(ge=1, le=1000)] = 30
    limit_seconds: Annotated[int, Field(ge=60)] = 3600
    stale_after: Annotated[float, Field(gt=1, le=period.OVERDUE)] = 1.5
    timer: str = ""
    ssh_key: Path | None = None
    known_hosts: Path | None = None
    sign_key: Path
    metrics: Path | None = None
    tell: Literal["always", "trouble"] = "trouble"
    syslog: bool = True
    mail: Mail | None = None
    webhook: Webhook | None = None

    @property
    def ledger(self) -> Path:
        """Where the ledger is."""
        return self.state / FILE

    @property
    def runs(self) -> Path:
        """Where the attempts' folders are."""
        return self.state / "runs"

    @property
    def stale_seconds(self) -> float:
        """How old the last complete run may be before people are told."""
        return period.seconds(self.period) * self.stale_after


def load(path: Path) -> Config:
    """The settings at `path`; raises ClawkeepError naming the file and what is wrong in it."""
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as problem:
        raise ClawkeepError(f"{path} cannot be read: {problem.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as problem:
        raise ClawkeepError(f"{path} cannot be read as YAML: {' '.join(str(problem).split())}") from None
    try:
        return Config.model_validate(raw)
    except ValidationError as problem:
        raise ClawkeepError(f"{path}: {sentence(problem)}") from None


def secret(path: Path) -> str:
    """The secret in a file, without the line's end; raises ClawkeepError, which never holds any of it."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    place = path if path.is_absolute() else Path(folder or ".") / path
    if not path.is_absolute() and not folder:
        raise ClawkeepError(f"the credential {path} is there for the systemd service alone: start the service")
    try:
        with place.open("rb") as file:
            if path.is_absolute() and os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                raise ClawkeepError(f"{place} holds a secret and is open to everybody: chmod o= {place}")
            data = file.read(SECRET_CAP + 1)
    except OSError as problem:
        raise ClawkeepError(f"the secret {place} cannot be read: {problem.strerror}") from None
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise ClawkeepError(f"the secret {place} is not text") from None
    if not text or len(data) > SECRET_CAP or any(ord(character) < 32 for character in text):
        raise ClawkeepError(f"the secret {place} must be one line of at most {SECRET_CAP} bytes")
    return text
