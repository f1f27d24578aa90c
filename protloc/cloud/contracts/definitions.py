"""A state machine's definition as CloudFormation reads it out of S3.

Its handler takes the file's YAML for a tree of JSON and knows nothing else of YAML: an alias is the text of
its name, `<<` is a key like any other, a tag counts for nothing, and a plain word is a number, `true`,
`false` or `null` only if JSON writes it so. (aws-cloudformation-resource-providers-stepfunctions,
`DefinitionProcessor.java`; jackson-dataformats-text#85; cfn-language-discussion#49.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

_JSON = re.compile(r"true|false|null|-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


def read(text: str) -> Any:
    """The definition in `text`, which is YAML or JSON. Raises yaml.YAMLError for any other."""
    events = (
        event for event in yaml.parse(text, yaml.SafeLoader) if isinstance(event, yaml.NodeEvent | _End)
    )
    return _value(next(events), events)


_End = yaml.CollectionEndEvent


def _value(event: yaml.Event, events: Iterator[yaml.Event]) -> Any:
    if isinstance(event, yaml.MappingStartEvent):
        mapping = {}
        while not isinstance(key := next(events), _End):
            mapping[_text(key)] = _value(next(events), events)
        return mapping
    if isinstance(event, yaml.SequenceStartEvent):
        sequence = []
        while not isinstance(item := next(events), _End):
            sequence.append(_value(item, events))
        return sequence
    if isinstance(event, yaml.ScalarEvent) and event.style is None and _JSON.fullmatch(event.value):
        return json.loads(event.value)
    return _text(event)


def _text(event: yaml.Event) -> str:
    """A scalar's text; of an alias, the name."""
    if isinstance(event, yaml.ScalarEvent):
        return str(event.value)
    if isinstance(event, yaml.AliasEvent):
        return str(event.anchor)
    raise yaml.YAMLError(f"expected text as a key, found {event}")
