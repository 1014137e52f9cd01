"""`probe`: open the run, have its questions again, ask them of an endpoint, and compare.

What is served may be the judged model, and still the run says that it did not pass: the status is never better than
the run's own.
"""

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from unlearn_guard.errors import ExitStatus, UsageError
from unlearn_guard.judging import agreement
from unlearn_guard.judging.gate import exit_status
from unlearn_guard.processes.interruption import heed
from unlearn_guard.records import FULL, Outcome, Paired, Sample, Served
from unlearn_guard.reopening.run import OpenRun, open_run
from unlearn_guard.runs.atomic import write_bytes
from unlearn_guard.served.address import Address, Key, address_of, key_of
from unlearn_guard.served.asking import NOT_COMPARED, Answer, Asking, counted
from unlearn_guard.served.choices import Question
from unlearn_guard.served.endpoint import Endpoint, model_of
from unlearn_guard.served.kept import Kept
from unlearn_guard.served.questions import CANDIDATE, Questions, questions_of
from unlearn_guard.served.transport import RefusedError, Transport

SCHEMA = "unlearn-guard.served/1"
FOLDER = "probes"
"""Where results lie in a run directory: run.json lists no file of it, and neither `verify` nor `attest` looks there."""

ITEMS, CONCURRENCY, TIMEOUT = 200, 4, 60.0

_AGAIN = 5
"""Items of an unfinished probe that are asked again before its answers are taken up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """One `probe` as the user asked for it."""

    url: str
    run: Path
    model: str | None = None
    precision: str = FULL
    items: int = ITEMS
    tasks: tuple[str, ...] = ()
    key_env: str | None = None
    by_ids: bool = False
    base: str | None = None
    out: Path | None = None
    timeout: float = TIMEOUT
    concurrency: int = CONCURRENCY
    per_minute: int | None = None
    insecure_http: bool = False
    data_dir: Path | None = None
    tasks_dirs: tuple[Path, ...] = ()


Tell = Callable[[str], None]
Progress = Callable[[int, int], None]


def probe(request: ProbeRequest, *, tell: Tell, progress: Progress) -> tuple[Served, Path]:
    """What was found, and the file that it was written to. `tell` is told what is sent where, before it is.

    Raises UsageError for what a user can mend (URL, key, run, suite, a model that is not served), MeasurementError
    where the endpoint does not answer: the same command then goes on.
    """
    started, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    address = address_of(request.url, insecure=request.insecure_http)
    key = key_of(request.key_env)
    opened = open_run(request.run)
    out = request.out or request.run / FOLDER / f"{address.name}.{request.precision}.json"
    questions = questions_of(
        opened,
        precision=request.precision,
        items=request.items,
        only=request.tasks,
        base=request.base,
        tasks_dirs=request.tasks_dirs,
        data_dir=request.data_dir,
    )
    if not questions.asked:
        raise UsageError(
            "none of the run's tasks is a choice between texts, so there is nothing that an endpoint can be held to",
            fix="; ".join(f"{name}: {why}" for name, why in questions.left_out.items())[:600],
        )
    tell(_sending(questions, address, key))
    transport = Transport(
        address, key, timeout=request.timeout, per_minute=request.per_minute, pool=request.concurrency
    )
    model, hints = model_of(transport, request.model)
    asking = Asking(endpoint=Endpoint(transport, model), by_ids=request.by_ids)
    asking.look(questions.asked)
    kept = Kept(out.with_name(f"{out.name}.unfinished"), _head(request, address, model, opened, questions))
    answers = _all(asking, questions.asked, kept, request.concurrency, progress)
    found = _judged(
        opened, questions, answers, request, address=address, model=model, hints=hints, started=started, begin=begin
    )
    write_bytes(out, (json.dumps(as_json(found), indent=1, allow_nan=False) + "\n").encode())
    kept.finished()
    return found, out


def as_json(found: Served) -> dict[str, Any]:
    """The result as JSON values: what `--json` prints and the file holds. No text of an item is in it."""
    return {"schema": SCHEMA, **asdict(found)}


def noise_of(opened: OpenRun, precision: str) -> tuple[float | None, str]:
    """The largest noise in nats that another dtype made of the candidate's margins, and which dtype that was."""
    found: dict[str, list[tuple[Sample, Sample]]] = {}
    for (task, name, side), samples in opened.answers.items():
        setting = re.fullmatch(rf"{re.escape(precision)}-((?:bfloat|float)\d+(?:-in-(?:bfloat|float)\d+)?)", name)
        own = opened.answers.get((task, precision, side))
        if side != CANDIDATE or setting is None or own is None:
            continue
        by_id = {sample.id: sample for sample in own}
        found.setdefault(setting[1], []).extend((by_id[each.id], each) for each in samples if each.id in by_id)
    noises = {name: value for name, pairs in found.items() if (value := agreement.noise_of(pairs)) is not None}
    if not noises:
        return None, f"not measured in this run at {precision}"
    largest = max(noises, key=lambda name: noises[name])
    return noises[largest], f"the candidate in {largest}, by the run"


def _sending(questions: Questions, address: Address, key: Key | None) -> str:
    tasks = len({each.task for each in questions.asked})
    sent = f"the texts of {len(questions.asked)} items of {tasks} tasks"
    secret = f", and the key of ${key.variable}" if key is not None else ""
    where = f"{address.host}, on this machine" if address.local else f"{address.host}: they leave this machine"
    return f"sending {sent}{secret} to {where}"


def _head(
    request: ProbeRequest, address: Address, model: str, opened: OpenRun, questions: Questions
) -> Mapping[str, Any]:
    return {
        "schema": f"{SCHEMA}.unfinished",
        "run": opened.digest,
        "url": address.url,
        "model": model,
        "precision": request.precision,
        "by_ids": request.by_ids,
        "items": len(questions.asked),
        "tasks": list(request.tasks),
    }


def _all(
    asking: Asking, questions: Sequence[Question], kept: Kept, concurrency: int, progress: Progress
) -> dict[tuple[str, str], Answer]:
    """An answer to each question, those that are kept among them."""
    held = [each for each in questions if (each.task, each.item) in kept.answers]
    for question in held[:: max(1, len(held) // _AGAIN)][:_AGAIN]:
        before = kept.answers[question.task, question.item]
        if before.digest != question.digest or before.picked != _ask(asking, question).picked:
            kept.start_anew()
            break
    left = [each for each in questions if (each.task, each.item) not in kept.answers]
    progress(len(questions) - len(left), len(questions))
    with ThreadPoolExecutor(concurrency) as pool:
        waiting = [pool.submit(_ask, asking, each) for each in left]
        try:
            for done in as_completed(waiting):
                heed()
                kept.add(done.result())
                progress(len(kept.answers), len(questions))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return kept.answers


def _ask(asking: Asking, question: Question) -> Answer:
    """An item that is refused, as one too long for the server is, cannot be compared; the others can."""
    try:
        return asking.ask(question)
    except RefusedError:
        return Answer(task=question.task, item=question.item, digest=question.digest, picked=None, way=NOT_COMPARED)


def _judged(
    opened: OpenRun,
    questions: Questions,
    answers: Mapping[tuple[str, str], Answer],
    request: ProbeRequest,
    *,
    address: Address,
    model: str,
    hints: tuple[str, ...],
    started: str,
    begin: float,
) -> Served:
    measured, source = noise_of(opened, request.precision)
    noise = agreement.within_bounds(measured)
    given = [answers[each.task, each.item] for each in questions.asked]
    paired = [
        Paired(task=each.task, role=each.role, item=each.item, nats=each.nats, served=said.picked)
        for each, said in zip(questions.asked, given, strict=True)
    ]
    tasks, forget, seen, outcome = agreement.agreements(paired, noise=noise)
    miscounted = _miscounted(given)
    if miscounted and outcome is Outcome.PASSED:
        outcome = Outcome.INCONCLUSIVE
    return Served(
        run=opened.digest,
        url=address.url,
        model=model,
        precision=request.precision,
        noise=noise,
        noise_from=source,
        power=seen,
        tasks=tasks,
        forget=forget,
        left_out=questions.left_out,
        ways=counted(given),
        hints=(*hints, *miscounted, *_by_ids(request)),
        outcome=outcome,
        verdict=opened.run.verdict.word,
        status=int(_status(outcome, exit_status(opened.run.verdict))),
        started=started,
        seconds=time.monotonic() - begin,
    )


def _status(outcome: Outcome, run: ExitStatus) -> ExitStatus:
    """1 wins over 5, and 0 is only what passed on both sides."""
    own = {Outcome.PASSED: ExitStatus.PASSED, Outcome.FAILED: ExitStatus.FAILED}.get(
        outcome, ExitStatus.NOT_ESTABLISHED
    )
    found = {own, run}
    return next((each for each in (ExitStatus.FAILED, ExitStatus.NOT_ESTABLISHED) if each in found), ExitStatus.PASSED)


def _miscounted(answers: Sequence[Answer]) -> tuple[str, ...]:
    """What is to be said of prompts that the server reads as another number of tokens than were judged."""
    both = [each for each in answers if each.prompt_tokens is not None and each.expected_tokens is not None]
    other = [each for each in both if each.prompt_tokens != each.expected_tokens]
    if not other:
        return ()
    first = other[0]
    return (
        f"the server counts {first.prompt_tokens} tokens in the prompt of {first.item} where {first.expected_tokens} "
        f"were judged, and others in {len(other)} of {len(both)} items: another chat template, system prompt, BOS or "
        "tokenizer is between",
    )


def _by_ids(request: ProbeRequest) -> tuple[str, ...]:
    if not request.by_ids:
        return ()
    return ("prompts were given as token ids: the server's own tokenizer was not asked",)
