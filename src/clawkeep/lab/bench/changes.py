"""How a gateway differs from the one that its tier describes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

_Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]
_Value = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$")]
# Below the state folder; no part of it begins with a dot, so that none leads out.
_Path = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")]


class Changes(BaseModel):
    """What is changed before the gateway starts.

    `settings` is a JSON merge patch (RFC 7396) on openclaw.json. `environment` sets variables in gateway.env; what
    compose.yml sets itself stands above that file. `files` are written below the state folder, as the agent's own.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    settings: dict[str, Any] = {}
    environment: dict[_Variable, _Value] = {}
    files: dict[_Path, Annotated[str, Field(min_length=1)]] = {}

    @model_validator(mode="after")
    def _something(self) -> Changes:
        if not self.model_fields_set:
            raise ValueError("say what is changed: settings, environment or files")
        return self


NONE = Changes(settings={})


def merge(document: Any, patch: Any) -> Any:
    """`document` with a JSON merge patch (RFC 7396) applied: null removes a key, everything but an object replaces."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged
