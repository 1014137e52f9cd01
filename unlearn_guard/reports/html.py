"""report.html: one file that opens from disk, asks the network for nothing, and prints."""

import shlex
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from unlearn_guard.records import FULL, MEASURES, Check, Measurement, Outcome, Role, Run
from unlearn_guard.reports import charts, formats, other_policy, positive_control, retention, wording
from unlearn_guard.reports.evidence import Evidence, Flips
from unlearn_guard.reports.meanings import meanings
from unlearn_guard.reports.scorecard import scorecard, sentence, worst_first
from unlearn_guard.reports.steps import steps
from unlearn_guard.reports.templating import asset, content_policy, template

if TYPE_CHECKING:
    from jinja2 import Template

SHOWN_ITEMS = 40
"""Items listed a task and precision; the rest is in samples/, which the page says."""

FOLDED_FROM = 3
"""Limits that held, or were never measured, are listed openly up to so many beside others that did not hold."""


def page(evidence: Evidence, *, show_items: bool = False, items_page: str | None = None) -> str:
    """The whole page. `show_items`: also targets and answers of items that changed, never shown otherwise.

    `items_page` is where the page of single items lies beside this one.
    """
    run = evidence.run
    style, script = asset("report.css"), asset("report.js")
    return _template().render(
        run=run,
        evidence=evidence,
        style=style,
        script=script,
        policy=content_policy(style, script),
        outcome=_outcome(run),
        marks=wording.MARKS,
        sentence=sentence(run),
        headline=wording.headline(run),
        control=positive_control.line(run),
        other=other_policy.line(run),
        scores=scorecard(run),
        checks=worst_first(run.verdict.checks),
        todo=steps(run),
        folded_from=FOLDED_FROM,
        reasons=dict.fromkeys((each.line, each.metric, each.because) for each in run.policy.limits),
        meanings=meanings(run),
        accuracies=formats.by_format(run),
        formats_width=formats.WIDTH,
        worst=formats.worst(run),
        kept=retention.kept(run),
        kept_width=retention.WIDTH,
        updates=charts.updates(evidence.drift),
        numbers=_weights(run),
        heat=charts.flips_by_layer(evidence.drift),
        masses=charts.masses(evidence.masses),
        flips=_flips(evidence.flips, run),
        reported=_reported(run),
        show_items=show_items,
        items_page=items_page,
        shown_items=SHOWN_ITEMS,
        command=_command(run),
        stages=run.stages,
    )


def _outcome(run: Run) -> Outcome:
    return Outcome.PASSED if run.verdict.passed else Outcome.FAILED if run.verdict.failed else Outcome.INCONCLUSIVE


@cache
def _template() -> "Template":
    filters: dict[str, Callable[..., Any]] = {
        "value": wording.value,
        "bounds": wording.bounds,
        "margin": wording.margin,
        "next_step": wording.next_step,
        "interval": _interval,
        "property": _property,
        "digest": lambda text: wording.plain(text.removeprefix("sha256:"))[:12],
        "size": lambda count: f"{count / 2**20:,.0f} MiB",
        "words": _words,
    }
    return template("report.html.j2", filters)


def _interval(check: Check) -> str:
    """The interval that was judged, or the 95 % one shown beside a point; a dash where there is none."""
    if check.interval is None:
        return "-"
    ends = (check.interval.low, check.interval.high)
    low, high = (wording.number(end, check.limit.at_least, check.limit.at_most) for end in ends)
    return f"{low} to {high}"


def _words(outcome: Outcome) -> str:
    return {Outcome.UNMEASURED: "not measured"}.get(outcome, str(outcome))


def _property(name: str) -> str:
    return name.capitalize()


def _weights(run: Run) -> tuple[tuple[str, str], ...]:
    """The run's own numbers on its weights, in words."""
    words = {
        "update_to_bin": "median update, in widths of the weight's NF4 bin",
        "floor_survival": "of the changed weights, share whose code changed too",
        "code_flip_rate": "of all weights, share whose code differs from base's",
    }
    found = {each.metric: each.value for each in run.measurements if each.subject == run.candidate.digest}
    return tuple((text, f"{found[name]:.4g}") for name, text in words.items() if name in found)


def _flips(flips: Sequence[Flips], run: Run) -> Sequence[Flips]:
    """Forget tasks first."""
    forget = {task.name for task in run.tasks if task.role is Role.FORGET}
    return sorted(flips, key=lambda each: each.task not in forget)


def _reported(run: Run) -> list[Measurement]:
    """Every other measurement of the candidate."""
    judged = {check.id for check in run.verdict.checks}
    return [each for each in run.measurements if each.subject == run.candidate.digest and each.name not in judged]


def _command(run: Run) -> str:
    """What would measure the same again."""
    precisions = dict.fromkeys([FULL, *(each.precision for each in run.measurements)])
    measured = {stage.precision for stage in run.stages if stage.name.startswith("score")}
    asked = [each for each in precisions if each in measured or not measured]
    words = ["unlearn-guard", "check", str(run.candidate.path), "--base", str(run.base.path), "--suite", run.suite]
    words += ["--thresholds", run.policy.path, "--precisions", ",".join(asked), "--seed", str(run.environment.seed)]
    tried = {each.metric for each in run.measurements}
    if left := [name for name, metric in MEASURES.items() if metric in tried]:
        words += ["--measure", ",".join(left)]
    words += ["--calibration", "worst"] if run.calibrations else []
    words += ["--limit", str(run.limit)] if run.limit else []
    return wording.plain(shlex.join(words))
