"""YAML read without surprises: plain values, the line of each, and every defect at once.

What YAML lets through and a policy must not: duplicate keys (the last would win), anchors, aliases and
merge keys (a bomb, or a limit that is not where it seems), tags, directives, several documents, numbers
in notations that people misread (`012`, `1_0`, `0x1f`). Read as YAML 1.2, so `no` is text and 1e-3 a number.
"""

import re
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from unlearn_guard.errors import Defect

Path = tuple[str | int, ...]

MAX_DEPTH = 8
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FRACTION = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_SPECIAL = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}
_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True)
class Document:
    """A parsed file: plain values, the line (from 1) where each begins, and what was wrong on the way."""

    name: str
    value: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)

    def where(self, path: Path) -> str:
        """`file:line` of a value, or of the nearest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"

    def refuse(self, line: int, found: str, expected: str, fix: str = "") -> None:
        """Note a defect at a line (from 1)."""
        self.defects.append(Defect(where=f"{self.name}:{line}", found=found, expected=expected, fix=fix))


def parse(text: str, name: str) -> Document:
    """The one document in `text`. When `defects` is not empty, `value` must not be used."""
    document = Document(name=name)
    try:
        _check_events(text, document)
        if not document.defects:
            node = YAML(typ="safe", pure=True).compose(StringIO(text))
            document.value = None if node is None else _value(node, (), document)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        document.refuse(
            mark.line + 1 if mark else 1, str(error.problem or error.context).removeprefix("found "), "YAML"
        )
    except YAMLError as error:
        document.refuse(1, " ".join(str(error).split()), "YAML")
    return document


def _check_events(text: str, document: Document) -> None:
    """Refuse what has no place in a policy before anything is built from it."""
    depth, documents = 0, 0
    for event in YAML(typ="safe", pure=True).parse(StringIO(text)):
        line = event.start_mark.line + 1
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                document.refuse(line, "a second document (---)", "one document")
            if event.version or event.tags:
                document.refuse(line, "a % directive", "none")
        if isinstance(event, NodeEvent):
            _check_node(event, line, document)
        # A streaming check: a thousand nested brackets never reach the recursive composer.
        depth += _depth_change(event)
        if depth > MAX_DEPTH:
            document.refuse(line, f"values nested more than {MAX_DEPTH} deep", "a flat list")
            return


def _check_node(event: NodeEvent, line: int, document: Document) -> None:
    if isinstance(event, AliasEvent):
        document.refuse(line, f"an alias (*{event.anchor})", "the value itself", "Write it out.")
    elif event.anchor:
        document.refuse(line, f"an anchor (&{event.anchor})", "plain values", "Write the value out where it is used.")
    elif isinstance(event, (ScalarEvent, SequenceStartEvent, MappingStartEvent)) and getattr(event, "tag", None):
        document.refuse(line, f"a tag ({event.tag})", "plain values without tags")


def _depth_change(event: Event) -> int:
    if isinstance(event, (SequenceStartEvent, MappingStartEvent)):
        return 1
    return -1 if type(event).__name__ in ("SequenceEndEvent", "MappingEndEvent") else 0


def _value(node: Node, path: Path, document: Document) -> Any:
    document.lines[path] = node.start_mark.line + 1
    if isinstance(node, SequenceNode):
        return [_value(each, (*path, index), document) for index, each in enumerate(node.value)]
    if isinstance(node, MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, ScalarNode):
        return _scalar(node, document)
    raise TypeError(f"line {node.start_mark.line + 1}: a {type(node).__name__} is no node of YAML")


def _mapping(node: MappingNode, path: Path, document: Document) -> dict[str, Any]:
    found: dict[str, Any] = {}
    first: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        key = key_node.value
        if not isinstance(key_node, ScalarNode) or not isinstance(key, str) or not _is_text(key):
            document.refuse(line, "a key that is not a word", "a key")
            continue
        if key in found:
            document.refuse(line, f"key {key!r} again (first in line {first[key]})", "each key once")
            continue
        first[key] = line
        found[key] = _value(value_node, (*path, key), document)
        document.lines[*path, key] = line
    return found


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: an escape may spell half of a character."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _scalar(node: ScalarNode, document: Document) -> Any:
    tag, text, line = str(node.tag).removeprefix(_TAG), node.value, node.start_mark.line + 1
    if not _is_text(text):
        document.refuse(line, "half of a character", "text", "Write the character itself, not its two halves.")
        return None
    if tag == "null":
        return None
    if tag == "bool":
        return text.lower() == "true"
    if tag == "int" and _INTEGER.fullmatch(text):
        # Longer than any count or bound; also keeps int() from its own digit limit.
        return int(text) if len(text) <= 18 else float(text)
    if tag == "float" and text.lower() in _SPECIAL:
        return float(_SPECIAL[text.lower()])
    if tag == "float" and _FRACTION.fullmatch(text):
        return float(text)
    if tag in ("int", "float"):
        document.refuse(line, f"the number {text!r}", "a plain decimal number such as 0.15")
        return None
    return text
