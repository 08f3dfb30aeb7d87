"""YAML of our own files, by libyaml where PyYAML was built with it: the register is read at each start."""

from __future__ import annotations

from typing import Any

import yaml

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    """The one document of `text` in plain Python values; raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)  # noqa: S506 - both loaders are safe
