"""The scores of a run in a model card: `model-index` in its front matter, and rows for the Hub's benchmarks.

Each precision is a row, and each row names the run's digest. Source: Hugging Face Hub documentation, "Evaluation
Results" (`.eval_results/*.yaml`) and the model card specification (`model-index`, the older form).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from unlearn_guard.records import Measurement, Task
from unlearn_guard.reports import wording
from unlearn_guard.reports.evidence import Evidence


def model_index(evidence: Evidence) -> list[dict[str, Any]]:
    """The value of `model-index`: one result a task, one metric a precision; accuracies are fractions."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    run = evidence.run
    results = [
        EvalResult(
            task_type="text-generation",
            task_name=f"unlearning, {task.role} task",
            dataset_type=wording.short(run.suite),
            dataset_name=wording.short(task.name),
            dataset_revision=task.digest,
            metric_type=wording.short(task.metric),
            metric_name=f"{wording.short(task.metric)} ({wording.short(found.precision, 24)})",
            metric_value=found.value,
            metric_args={"precision": found.precision, "stderr": found.stderr, "run": evidence.digest},
        )
        for task, found in _scores(evidence)
    ]
    return eval_results_to_model_index(wording.short(run.candidate.path.name or "candidate"), results)


def eval_results(evidence: Evidence, benchmarks: Mapping[str, tuple[str, str]]) -> list[dict[str, Any]]:
    """Rows of `.eval_results/*.yaml`, for the tasks that `benchmarks` maps to (Hub dataset, its task id).

    Which dataset a task's questions come from is the user's to say: a run knows tasks by lm-eval's names.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    verdict, digest = evidence.run.verdict.word, evidence.digest
    return eval_result_entries_to_yaml(
        [
            EvalResultEntry(
                dataset_id=benchmarks[task.name][0],
                task_id=benchmarks[task.name][1],
                value=found.value,
                date=evidence.run.started,
                notes=f"{wording.short(found.precision, 24)}; unlearn-guard {verdict}; run {digest}",
            )
            for task, found in _scores(evidence)
            if task.name in benchmarks
        ]
    )


def _scores(evidence: Evidence) -> Iterator[tuple[Task, Measurement]]:
    run = evidence.run
    for task in run.tasks:
        for each in run.measurements:
            if (each.subject, each.task, each.metric) == (run.candidate.digest, task.name, task.metric):
                yield task, each
