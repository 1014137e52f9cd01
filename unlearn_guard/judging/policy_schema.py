"""`thresholds.yaml` as a JSON schema, for editors: what the reader accepts, as far as a schema can say it.

The reader stays the judge: a schema sees no duplicate keys, no suite, and no order of bounds.
"""

from typing import Any

from unlearn_guard.judging.draft import EXPECTED, PolicyFile
from unlearn_guard.judging.metrics import METRICS
from unlearn_guard.records import CONFIDENCE_LEVELS

_ABOUT = {
    **EXPECTED,
    "base": "what `check CHECKPOINT` alone compares with: a path or hub id",
    "precisions": "what `check` measures at, unless --precisions says otherwise",
    "metric": "a derived metric, or the score of a task as lm-eval names it (`acc`)",
    "precision": "full, nf4, gptq, awq or a plug-in's; a list makes one limit of each",
    "at_least": "lower bound, in the metric's own unit; accuracies are fractions",
    "at_most": "upper bound, in the metric's own unit; accuracies are fractions",
    "confidence": "the whole interval at this level has to lie inside; without it the point value counts",
    "because": "where the number comes from, in one line",
}


def policy_schema() -> dict[str, Any]:
    """A JSON schema (draft 2020-12)."""
    schema = PolicyFile.model_json_schema()
    rule = schema["$defs"]["Rule"]
    rule["anyOf"] = [{"required": ["at_least"]}, {"required": ["at_most"]}]
    rule["description"] = "One rule; each of its tasks and precisions becomes a limit of its own."
    for properties in (schema["properties"], rule["properties"]):
        for name, field in properties.items():
            properties[name] = _described(name, field)
    rule["properties"]["confidence"] = {"enum": list(CONFIDENCE_LEVELS), "description": _ABOUT["confidence"]}
    rule["properties"]["metric"]["examples"] = list(METRICS)
    rule["properties"]["task"]["examples"] = ["@forget", "@retain", "@probe", "weights", "suite"]
    schema["properties"]["version"]["const"] = 1
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "unlearn-guard policy",
        "description": "What must hold before a model that is said to have unlearned something may be released.",
    }


def _described(name: str, field: dict[str, Any]) -> dict[str, Any]:
    """The field with a description, without the null that a key left out stands for: written out it is refused."""
    kinds = [kind for kind in field.get("anyOf", []) if kind != {"type": "null"}]
    if kinds:
        field = {**{key: value for key, value in field.items() if key not in ("anyOf", "default")}}
        field = {**field, **kinds[0]} if len(kinds) == 1 else {**field, "anyOf": kinds}
    field.pop("title", None)
    return {**field, "description": _ABOUT[name]}
