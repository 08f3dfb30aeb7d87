"""YAML of our own files, by libyaml where PyYAML was built with it: the register is read at each start."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNIQUE_KEYS: type[Any] = type("_UniqueKeys", (_LOADER,), {})


def load(text: str) -> Any:
    """The one document of `text` in plain Python values; raises yaml.YAMLError."""
    return yaml.load(text, _LOADER)  # noqa: S506 - both loaders are safe


def load_unique(text: str) -> Any:
    """As `load`, and a key that is written twice in one mapping is a mistake, not a silent loss."""
    return yaml.load(text, _UNIQUE_KEYS)  # noqa: S506 - both loaders are safe


def _mapping(loader: Any, node: yaml.MappingNode) -> dict[object, object]:
    keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    twice = [key for key, count in Counter(keys).items() if count > 1]
    if twice:
        raise yaml.constructor.ConstructorError(None, None, f"{twice[0]} stands there twice", node.start_mark)
    return {loader.construct_object(k, deep=True): loader.construct_object(v, deep=True) for k, v in node.value}


_UNIQUE_KEYS.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
