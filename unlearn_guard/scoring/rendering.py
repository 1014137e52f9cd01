"""A suite's questions, rendered once, so that every model and precision is asked exactly the same."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from unlearn_guard.errors import SuiteError, near
from unlearn_guard.records import Role, Task
from unlearn_guard.scoring.chat import Chat
from unlearn_guard.scoring.digests import items_digest, sha256_of, task_digest
from unlearn_guard.scoring.greedy import read_generation
from unlearn_guard.scoring.loading import BROKEN_TASK, Loaded, from_hub, load_tasks, quiet
from unlearn_guard.scoring.questions import Item, Leaf, Rendered, RenderedTask
from unlearn_guard.scoring.suites import Suite, TaskSpec
from unlearn_guard.scoring.tokens import Whole
from unlearn_guard.scoring.vendored import Vendored
from unlearn_guard.scoring.words import Manner, Words

CHANCE_TOLERANCE = 0.005
"""How far a suite's chance may lie from the choices' own, so that it can be written with two digits."""


def render(
    suite: Suite,
    *,
    limit: int | None = None,
    seed: int = 0,
    defaults: bool = True,
    data_dir: Path | None = None,
    verify: bool = True,
    chat: Chat | None = None,
    tokenizer: Any = None,
) -> Rendered:
    """Render every task of a suite, each question once; with `chat`, through that chat template.

    Tasks that decide their words by themselves (`words.Manner`) take those from `tokenizer`, and are not touched by
    `chat`; without a tokenizer they are rendered bare, and what is rendered so cannot be asked.

    `limit` asks the first items of each task only; `seed` draws few-shot examples; `defaults` lets names
    that the suite's folders do not define be lm-eval's own; `data_dir` holds vendored datasets, and its
    manifest's digests must be those of the items. Raises SuiteError: a broken definition, a missing dataset, a
    metric that is not a mean over items, a chance that the choices contradict, other items than were pulled.
    """
    if limit is not None and limit < 1:
        raise SuiteError(f"a limit of {limit} items", fix="Ask at least one item, or leave --limit out.")
    names = [spec.name for spec in suite.tasks]
    data = Vendored(data_dir) if data_dir is not None else None
    loaded = load_tasks(names, suite.include, defaults=defaults, data=data, seed=seed)
    how = _How(limit=limit, seed=seed, chat=None, words=None)
    words = Words(tokenizer) if tokenizer is not None else None
    own = [_decides(each) for each in loaded]
    # Of part of the items no digest is known, and such a run never passes.
    checked = data if verify and limit is None else None
    put = chat is not None or (words is not None and any(own))
    if not put or checked is not None:
        tasks = tuple(_render(each, spec, how) for each, spec in zip(loaded, suite.tasks, strict=True))
        _check_items(tasks, checked)
    if put:
        how = replace(how, chat=chat, words=words)
        tasks = tuple(_render(each, spec, how) for each, spec in zip(loaded, suite.tasks, strict=True))
    notes = dict.fromkeys((*(chat.notes if chat is not None else ()), *(words.notes if words is not None else ())))
    bare = tuple(name for name, decides in zip(names, own, strict=True) if decides and words is None)
    return Rendered(
        suite=suite, tasks=tasks, limit=limit, seed=seed, templated=chat is not None, notes=tuple(notes), bare=bare
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _How:
    """How a task is rendered."""

    limit: int | None
    seed: int
    chat: Chat | None
    words: Words | None


def _decides(loaded: Loaded) -> bool:
    """Whether a task's words are its own. Raises SuiteError for metadata that does not say."""
    try:
        return any(Manner.of(leaf.config.metadata).own for leaf in loaded.leaves)
    except ValueError as error:
        raise SuiteError(f"{loaded.path}: {error}") from error


def _check_items(tasks: Iterable[RenderedTask], data: Vendored | None) -> None:
    for task in tasks if data is not None else ():
        if data is not None and any(from_hub(leaf.task) for leaf in task.leaves):
            data.check_items(task.task.name, task.task.items, items_digest(task))


def _render(loaded: Loaded, spec: TaskSpec, how: _How) -> RenderedTask:
    try:
        leaves = tuple(_leaf(task, spec, loaded.path, how) for task in loaded.leaves)
        _check_chance(spec, leaves, loaded.path)
        digest = task_digest(spec.metric, leaves, loaded.code)
    except BROKEN_TASK as error:
        raise SuiteError(f"{loaded.path} cannot be rendered: {type(error).__name__}: {error}") from error
    items = [item for leaf in leaves for item in leaf.items]
    task = Task(
        name=spec.name,
        role=spec.role,
        metric=spec.metric,
        chance=spec.chance,
        items=len(items),
        digest=digest,
        measure=spec.measure,
        retrained=spec.retrained,
        floor=spec.floor,
        likeliest=all(_by_likelihood(leaf) for leaf in leaves),
        written=all(leaf.task.OUTPUT_TYPE == "generate_until" for leaf in leaves),
        phrasing=spec.phrasing,
    )
    return RenderedTask(task=task, leaves=leaves)


def _by_likelihood(leaf: Leaf) -> bool:
    """Whether lm-eval counts an answer as right where the choice of the target's index is likeliest."""
    task = leaf.task
    plain = leaf.metric == "acc" and task.OUTPUT_TYPE == "multiple_choice" and leaf.filter == "none"
    if not plain or task.config.process_results is not None or task.multiple_input or task.multiple_target:
        return False
    for item in leaf.items:
        document = item.requests[0].doc
        gold, choices = task.doc_to_target(document), len(task.doc_to_choice(document))
        if type(gold) is not int or not 0 <= gold < choices or len(item.requests) != choices:
            return False
    return True


def _leaf(task: Any, spec: TaskSpec, path: Path, how: _How) -> Leaf:
    metric, filter_name = _metric(task, spec, path)
    name = str(task.config.task)
    manner = Manner.of(task.config.metadata)
    template = how.chat if not manner.own else how.words.chat if manner.chat_template and how.words else None
    with quiet(how.seed):
        task.set_fewshot_seed(how.seed)
        chat = {"apply_chat_template": True, "chat_template": template} if template is not None else {}
        task.build_all_requests(limit=how.limit, **chat)
    by_document: dict[int, list[Instance]] = {}
    for request in task.instances:
        _check_request(request, path)
        if manner.own and how.words is not None and request.request_type == "loglikelihood":
            context, answer = request.args
            request.arguments = (Whole(context), answer + (how.words.end if manner.end_of_text else ""))
        by_document.setdefault(request.doc_id, []).append(request)
    items = tuple(_item(task, f"{name}-{number}", requests, path) for number, requests in sorted(by_document.items()))
    if sorted(by_document) != list(range(len(by_document))):
        raise SuiteError(f"{path}: lm-eval numbered the items {sorted(by_document)[:5]} ...; expected 0, 1, 2 ...")
    return Leaf(name=name, task=task, metric=metric, filter=filter_name, items=items)


def _item(task: Any, name: str, requests: list[Instance], path: Path) -> Item:
    requests = sorted(requests, key=lambda request: request.idx)
    if [request.idx for request in requests] != list(range(len(requests))):
        raise SuiteError(f"{path}: item {name} has a choice twice or lacks one")
    return Item(
        id=name,
        prompt=sha256_of([[request.request_type, *request.args] for request in requests]),
        target=_target(task, requests[0]),
        requests=tuple(requests),
    )


def _target(task: Any, request: Instance) -> str:
    """The right answer; of a text that is scored whole its hash, so that a run directory does not hold the text."""
    target = str(task.doc_to_target(request.doc))
    return f"sha256:{sha256_of(target)}" if request.request_type == "loglikelihood_rolling" else target


def _check_request(request: Instance, path: Path) -> None:
    if request.request_type == "generate_until":
        read_generation(request.args[1])
    if not all(isinstance(part, str | dict) for part in request.args):
        raise SuiteError(f"{path}: a request of {[type(part).__name__ for part in request.args]}; expected text")


def _metric(task: Any, spec: TaskSpec, path: Path) -> tuple[str, str]:
    """The metric's and the filter's name behind a suite's `acc` or `exact_match,strict-match`."""
    metric, _, wanted = spec.metric.partition(",")
    known = dict(task.aggregation())
    if metric not in known:
        raise SuiteError(f"{path} has no metric {metric!r}", fix=near(metric, map(str, known)))
    filters = [str(each.name) for each in task._filters]
    if not wanted and len(filters) > 1 and "none" not in filters:
        choices = " or ".join(f"`{metric},{name}`" for name in filters)
        raise SuiteError(f"{path} reads an answer in {len(filters)} ways", fix=f"Write {choices} in the suite.")
    chosen = wanted or (filters[0] if len(filters) == 1 else "none")
    if chosen not in filters:
        raise SuiteError(f"{path} has no filter {chosen!r}", fix=near(chosen, filters))
    if spec.role is not Role.PROBE and task.higher_is_better().get(metric) is False:
        raise SuiteError(
            f"{path}: of metric {metric!r} less is better, so that forgetting would read as knowing more",
            fix="Choose a metric of which more is better, such as acc or exact_match, or make the task a probe.",
        )
    if not _is_mean(known[metric]):
        raise SuiteError(
            f"{path}: metric {metric!r} is not a mean over items",
            fix="The guard pairs items: choose a metric that is, such as acc or exact_match.",
        )
    return metric, chosen


def _is_mean(aggregate: Any) -> bool:
    try:
        return bool(aggregate([0.0, 1.0, 1.0, 1.0]) == 0.75 and aggregate([0.5]) == 0.5)
    except BROKEN_TASK:
        return False


def _check_chance(spec: TaskSpec, leaves: Iterable[Leaf], path: Path) -> None:
    """Chance of a choice drawn blindly is 1 / choices; with a limit only its range is known."""
    blind = [
        1 / len(item.requests)
        for leaf in leaves
        if leaf.task.OUTPUT_TYPE == "multiple_choice" and leaf.metric in ("acc", "acc_norm", "acc_bytes")
        for item in leaf.items
        if not leaf.task.multiple_target
    ]
    if blind and not min(blind) - CHANCE_TOLERANCE <= spec.chance <= max(blind) + CHANCE_TOLERANCE:
        expected = f"{min(blind):.4g}" if min(blind) == max(blind) else f"{min(blind):.4g} to {max(blind):.4g}"
        raise SuiteError(
            f"task {spec.name!r}: the suite says chance {spec.chance}; the choices of {path} say {expected}"
        )
