"""A suite of two multiple-choice tasks, and the limits that the tests hold it to."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]
"""A question, its choices, and the place of the right one."""


def write_tasks(root: Path, name: str, *, forget: list[Row], retain: list[Row], more: str = "") -> Path:
    """The suite `name` with the tasks `name`_forget and `name`_retain; `root` is a `--tasks-dir`."""
    tasks = root / name
    tasks.mkdir(parents=True)
    for role, rows in (("forget", forget), ("retain", retain)):
        (tasks / f"{role}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (tasks / f"{name}_{role}.yaml").write_text(
            f"task: {name}_{role}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {role}.jsonl}}}}\n"
            "test_split: test\noutput_type: multiple_choice\n"
            'doc_to_text: "{{question}}"\ndoc_to_choice: "{{choices}}"\ndoc_to_target: answer\n'
            "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\n"
        )
    (root / f"{name}.yaml").write_text(
        f"version: 1\nname: {name}\ntitle: A quiz\ndescription: What a model knows.\n"
        f"forget: [{{task: {name}_forget, metric: acc, chance: 0.25}}]\n"
        f"retain: [{{task: {name}_retain, metric: acc, chance: 0.25}}]\ninclude: [{name}]\n{more}"
    )
    return root


LIMITS = {
    "forget_drop": '"@forget", precision: {}, at_least: 0.30',
    "ptq_gap": '"@forget", precision: {}, at_most: 0.0',
    "retain_drop": '"@retain", precision: {}, at_most: 0.15',
    "cad": '"@forget", precision: {}, at_least: 0.80',
    "dtype_gap": '"@forget", precision: {}, at_most: 0.10',
    "truncated": '"@forget", precision: {}, at_most: 0',
}
"""The paper's bounds: the task, and what follows the precision."""


def limits(*metrics: str, precisions: Iterable[str]) -> str:
    """A policy of these limits, each at all the precisions; the gap of quantization at all but `full`."""
    lines = ["version: 1", f"precisions: {_listed(precisions)}", "limits:"]
    for metric in metrics:
        at = [each for each in precisions if (metric, each) != ("ptq_gap", "full")]
        lines.append(f"  - {{metric: {metric}, task: {LIMITS[metric].format(_listed(at))}, because: test}}")
    return "".join(f"{line}\n" for line in lines)


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(names)}]"
