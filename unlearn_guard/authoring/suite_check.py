"""`suite check`: what a suite asks, what so many items can tell, what is missing. Without a base it loads no torch."""

from collections import Counter
from collections.abc import Mapping, Sequence

from unlearn_guard.authoring.advice import warnings
from unlearn_guard.authoring.findings import Shown, SuiteCheck, SuiteFindings, TaskFindings, defects_of
from unlearn_guard.authoring.needs import unmeasured
from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.judging.gap import DISCORDANCE, smallest_gap
from unlearn_guard.records import Role, Source
from unlearn_guard.scoring.calibration import calibration_texts
from unlearn_guard.scoring.questions import Rendered, RenderedTask
from unlearn_guard.scoring.rendering import render
from unlearn_guard.scoring.suites import Suite, load_suite
from unlearn_guard.unlearning.rows import FORMS, rows_of

_RIGHT_OR_WRONG = frozenset({"acc", "acc_norm", "acc_bytes", "exact_match"})
_SHOWN_ROWS = 20


def check_suite(asked: SuiteCheck) -> SuiteFindings:
    """What is found; its `defects` are why the suite cannot be used as it is. Raises SuiteError where it is none."""
    suite = load_suite(asked.name, asked.tasks_dirs)
    if asked.base is None:
        rendered = render(suite, data_dir=asked.data_dir)
        shown = _both(rendered)
        base, defects = None, (*_calibration(rendered), *_corpora(suite))
    else:
        from unlearn_guard.authoring.base_check import check_base, open_base

        intake, tokenizer = open_base(asked)
        rendered = render(suite, data_dir=asked.data_dir, tokenizer=tokenizer)
        shown = _both(rendered)
        base = check_base(asked, intake, rendered, shown)
        defects = base.defects
    tasks = tuple(_task(each) for each in rendered.tasks)
    return SuiteFindings(
        suite=suite,
        tasks=tasks,
        shown=shown,
        unmeasured=unmeasured(suite, base),
        warnings=warnings(rendered, tasks),
        defects=defects,
        base=base,
    )


def _both(rendered: Rendered) -> tuple[Shown, ...]:
    return tuple(_shown(rendered, role) for role in (Role.FORGET, Role.RETAIN))


def _task(each: RenderedTask) -> TaskFindings:
    task = each.task
    counted = task.role is not Role.PROBE and task.metric.partition(",")[0] in _RIGHT_OR_WRONG
    gap = smallest_gap(task.items, discordance=DISCORDANCE) if counted else None
    return TaskFindings(task=task, letters=_letters(each), counted=counted, gap=gap)


def _letters(each: RenderedTask) -> Mapping[str, int] | None:
    """How often each letter is right; None where the choices are no letters."""
    counts: Counter[str] = Counter()
    for item in each.items:
        choices = [str(request.args[1]).strip() for request in item.requests if len(item.requests) > 1]
        if not choices or not all(len(choice) == 1 and choice.isupper() for choice in choices):
            return None
        if not item.target.isdecimal() or int(item.target) >= len(choices):
            return None
        counts.update(dict.fromkeys(choices, 0))
        counts[choices[int(item.target)]] += 1
    return dict(sorted(counts.items()))


def _shown(rendered: Rendered, role: Role) -> Shown:
    task = next(each for each in rendered.tasks if each.task.role is role)
    item = task.items[0]
    asked = [request for request in item.requests if request.request_type == "loglikelihood"]
    return Shown(
        task=task.task.name,
        prompt=str(item.requests[0].args[0]),
        choices=tuple(str(request.args[1]) for request in asked),
        target=item.target,
    )


def _calibration(rendered: Rendered) -> tuple[Defect, ...]:
    """Whether there are enough texts; how many tokens they have is not known without a base."""
    if rendered.suite.calibration is None:
        return ()
    try:
        calibration_texts(rendered, rendered.suite.calibration_samples, length=len, shortest=1)
    except SuiteError as error:
        return defects_of(error, "calibration")
    return ()


def _corpora(suite: Suite) -> tuple[Defect, ...]:
    """Rows that are no rows. What a row says is read with a base's tokenizer."""
    sources: Sequence[Source] = (*suite.unlearn.forget, *suite.unlearn.retain) if suite.unlearn is not None else ()
    defects: list[Defect] = []
    for source in (each for each in sources if each.path is not None):
        try:
            rows = list(rows_of(source))
        except SuiteError as error:
            defects += defects_of(error, str(source.path))
            continue
        if not rows:
            defects.append(Defect(where=str(source.path), found="no row", expected=FORMS))
        defects += [
            Defect(where=at, found="no object", expected=FORMS) for at, row in rows if not isinstance(row, dict)
        ]
    return tuple(defects[:_SHOWN_ROWS])
