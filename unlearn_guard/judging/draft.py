"""A policy as its file writes it, before the suite is known: rules, each with its line."""

import math
from typing import Annotated, Any, TypeGuard

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unlearn_guard.errors import Defect, PolicyError, near
from unlearn_guard.reading.strict_yaml import Document, Path, parse
from unlearn_guard.records import ALL, CONFIDENCE_LEVELS

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*$")]
Bound = Annotated[float, Field(allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Rule(_Strict):
    """One entry under `limits:`; `task` may be `@forget`, `@retain` or `@probe`, `precision` a list."""

    metric: Name
    task: Name
    precision: Name | Annotated[list[Name], Field(min_length=1)]
    at_least: Bound | None = None
    at_most: Bound | None = None
    confidence: Bound | None = None
    because: Annotated[
        str, Field(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\S[^\x00-\x1f\x7f-\x9f]*\n?$")
    ]

    @property
    def precisions(self) -> tuple[str, ...]:
        """The precisions, however written."""
        return (self.precision,) if isinstance(self.precision, str) else tuple(self.precision)


class PolicyFile(_Strict):
    """thresholds.yaml, top to bottom."""

    version: Annotated[int, Field(ge=1, le=1)]
    base: Name | None = None
    suite: Name | None = None
    precisions: Annotated[list[Name], Field(min_length=1)] | None = None
    limits: Annotated[list[Rule], Field(min_length=1)]


class PolicyDraft(_Strict):
    """A policy that reads well in itself; whether its metrics, tasks and precisions exist is `resolve`'s to say."""

    path: str
    digest: str
    rules: tuple[Rule, ...]
    lines: tuple[int, ...]
    base: str | None
    suite: str | None
    precisions: tuple[str, ...] | None
    text: str

    @property
    def named(self) -> frozenset[str]:
        """Every precision that the policy says anything of."""
        measured = () if self.precisions == (ALL,) else self.precisions or ()
        return frozenset([*measured, *(each for rule in self.rules for each in rule.precisions)])

    def where(self, index: int) -> str:
        """`file:line` of a rule."""
        return f"{self.path}:{self.lines[index]}"


def read_draft(text: str, *, name: str, digest: str) -> PolicyDraft:
    """The draft in `text`, or a PolicyError that lists everything wrong with it. A byte order mark is no part of it."""
    document = parse(text.removeprefix("\ufeff"), name)
    defects = list(document.defects)
    file: PolicyFile | None = None
    if not defects and not isinstance(document.value, dict):
        kind = "nothing" if document.value is None else f"a {_kind(document.value)}"
        defects.append(Defect(where=f"{name}:1", found=kind, expected="a mapping with version and limits"))
    elif isinstance(document.value, dict):
        # Also after YAML defects: all of them at once.
        defects += _own_rules(document)
        try:
            file = PolicyFile.model_validate(document.value)
        except ValidationError as error:
            defects += _translate(error, document)
    if file is None or defects:
        raise PolicyError(f"{name} is not a policy that can be held", _sorted(defects), fix=_GUIDE)
    return PolicyDraft(
        path=name,
        digest=digest,
        rules=tuple(file.limits),
        lines=tuple(document.lines["limits", index] for index in range(len(file.limits))),
        base=file.base,
        suite=file.suite,
        precisions=tuple(file.precisions) if file.precisions is not None else None,
        text=text,
    )


_GUIDE = "A limit: metric, task (a name, @forget, @retain or @probe), precision, at_least and/or at_most, because."


def _sorted(defects: list[Defect]) -> list[Defect]:
    """In the file's order, each once."""
    return sorted(dict.fromkeys(defects), key=lambda defect: int(defect.where.rpartition(":")[2]))


def _own_rules(document: Document) -> list[Defect]:
    """What a schema of types cannot say: one bound at least, the right way round, at a known confidence."""
    defects = []
    rules = document.value.get("limits")
    for index, rule in enumerate(rules if isinstance(rules, list) else []):
        if not isinstance(rule, dict):
            continue
        path: Path = ("limits", index)
        low, high, level = rule.get("at_least"), rule.get("at_most"), rule.get("confidence")
        if low is None and high is None:
            defects.append(Defect(where=document.where(path), found="no bound", expected="at_least or at_most"))
        if _is_number(low) and _is_number(high) and low > high:
            found = f"at_least {low} above at_most {high}"
            defects.append(Defect(where=document.where((*path, "at_least")), found=found, expected="low to high"))
        if _is_number(level) and math.isfinite(level) and level not in CONFIDENCE_LEVELS:
            expected = f"one of {', '.join(map(str, CONFIDENCE_LEVELS))}"
            where = document.where((*path, "confidence"))
            defects.append(Defect(where=where, found=f"confidence {level}", expected=expected))
    return defects


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _translate(error: ValidationError, document: Document) -> list[Defect]:
    """What pydantic found, in the file's own words and lines."""
    return [
        _defect(tuple(each["loc"]), each["type"], each["msg"], each["input"], document)
        for each in error.errors()
        # `precision` may be a name or a list: a list fails as a name too, which says nothing.
        if not ("precision" in each["loc"] and each["type"] == "string_type" and isinstance(each["input"], list))
    ]


def _defect(loc: Path, kind: str, message: str, value: Any, document: Document) -> Defect:
    # The union of `precision` names its branches in the location; they are not in the file.
    path = tuple(part for part in loc if isinstance(part, int) or part in _KEYS or kind == "extra_forbidden")
    where = document.where(path)
    key = str(path[-1]) if path else "policy"
    if kind == "extra_forbidden":
        known = Rule.model_fields if len(path) > 1 else PolicyFile.model_fields
        return Defect(where=where, found=f"unknown key {key!r}", expected="a known key", fix=near(key, known))
    if kind == "missing":
        return Defect(where=where, found=f"no {key}", expected=EXPECTED.get(key, key))
    if isinstance(path[-1] if path else "", int) and len(path) == 2 and path[0] == "limits":
        return Defect(where=where, found=f"an entry that is {value!r}"[:200], expected="a limit: key and value pairs")
    if value is None:
        return Defect(where=where, found=f"{key} without a value", expected=EXPECTED.get(key, message))
    if kind == "too_short" and isinstance(value, list):
        return Defect(
            where=where, found=f"an empty list of {key}", expected="at least one; an empty policy passes nothing"
        )
    shown = repr(value) if isinstance(value, (str, int, float)) else f"a {_kind(value)}"
    name = next((str(part) for part in reversed(path) if isinstance(part, str)), key)
    found = f"{name} {'true' if value is True else 'false' if value is False else shown}"
    return Defect(where=where, found=found[:200], expected=EXPECTED.get(name, message))


_KEYS = {*Rule.model_fields, *PolicyFile.model_fields}
_NUMBER = "a finite number"
EXPECTED = {
    "version": "version: 1",
    "base": "a path or hub id",
    "suite": "a suite's name",
    "precisions": "a list of precisions",
    "limits": "a list of limits",
    "metric": "a metric's name",
    "task": "a task's name, @forget, @retain, @probe, weights or suite",
    "precision": "a precision or a list of them",
    "at_least": _NUMBER,
    "at_most": _NUMBER,
    "confidence": f"one of {', '.join(map(str, CONFIDENCE_LEVELS))}",
    "because": "because: one line that says where the number comes from",
}


def _kind(value: Any) -> str:
    return {dict: "mapping", list: "list", str: "text", bool: "true or false"}.get(type(value), "number")
