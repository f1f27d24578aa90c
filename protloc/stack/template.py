"""CloudFormation's YAML, read as the SAM CLI reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from samtranslator.yaml_helper import intrinsics_multi_constructor

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:  # libyaml's parser, seven times as quick, where PyYAML was built with it
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """Reads short forms, such as `!Ref Name`, as the mappings that they stand for."""


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def parse(text: str) -> dict[str, Any]:
    """The template in `text`, with each intrinsic function in its long form. Raises yaml.YAMLError."""
    template: dict[str, Any] = yaml.load(text, _Loader)  # nosec B506
    return template
