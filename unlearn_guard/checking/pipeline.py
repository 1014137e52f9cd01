"""`check`, from the two checkpoints to the run directory: the stages in their order.

    look at all that is cheap -> open candidate and base -> settle base, suite, precisions -> render the suite
    -> resolve the policy -> quantize and score both -> ask a sample in other dtypes -> attribute both
    -> teach again, probe and patch, where asked -> compare weights -> derive -> judge -> write the run -> report

Whatever can be known to be wrong is found before the first model is loaded.
"""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from unlearn_guard.checking.adapted import open_candidate
from unlearn_guard.checking.answering import all_scores, retrained_scores
from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.checkpoints import Lineages, open_others, open_retrained
from unlearn_guard.checking.chosen_calibration import chosen_calibration
from unlearn_guard.checking.deployed_items import assert_same_ids
from unlearn_guard.checking.dosed import SHARES, mixtures
from unlearn_guard.checking.erasure import PRECISIONS, Attributed, Erasure
from unlearn_guard.checking.foreign_reference import foreign_reference
from unlearn_guard.checking.other_dtypes import Elsewhere
from unlearn_guard.checking.policy_seal import Held, assert_items, assert_rule, read_seal
from unlearn_guard.checking.preflight import never_measured, preflight
from unlearn_guard.checking.progress import Progress, Silent, Stopwatch
from unlearn_guard.checking.request import Request, Settled, settle
from unlearn_guard.checking.residues import Residues
from unlearn_guard.checking.weighing import weigh, write_weights
from unlearn_guard.checking.worst_calibration import WorstCalibration
from unlearn_guard.environment import choose_device, choose_dtype, describe, device_map, seed_everything
from unlearn_guard.errors import MeasurementError, UsageError
from unlearn_guard.intake import (
    Intake,
    open_tokenizer,
    padding_ids,
    write_release,
)
from unlearn_guard.judging.derive import derive
from unlearn_guard.judging.dosing import doses
from unlearn_guard.judging.draft import PolicyDraft
from unlearn_guard.judging.gate import judge
from unlearn_guard.judging.knowing import unknown
from unlearn_guard.judging.lint import policy_warnings, suite_warnings
from unlearn_guard.judging.thresholds import resolve
from unlearn_guard.processes.chatter import chatter_to
from unlearn_guard.quantizers.protocol import Placement
from unlearn_guard.records import Policy, Run, TaskScore
from unlearn_guard.registry import precisions as known_precisions
from unlearn_guard.reports.rendering import write_report
from unlearn_guard.runs.directory import ATTRIBUTION, LOG, RESIDUE, WEIGHTS, abandon, clear, write_run
from unlearn_guard.runs.earlier import Earlier, taken
from unlearn_guard.runs.store import Store, default_root
from unlearn_guard.runs.trials_file import write_trials
from unlearn_guard.scoring.chat import Chat
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.scoring.suites import Suite, load_suite


def check(request: Request, progress: Progress | None = None) -> tuple[Run, Path]:
    """Measure and judge one candidate; returns the run and the directory that holds it.

    The same command after an interruption takes up where it stopped, and the same command again measures
    nothing twice. Raises UsageError before anything is measured, MeasurementError when measuring fails.
    """
    watch = Stopwatch(progress=progress or Silent())
    watch.progress.plan(0)
    with ExitStack() as held:
        # Where the directory is known, an earlier verdict in it stands no longer from here on.
        earlier = held.enter_context(taken(request.out, replace=request.replace)) if request.out else None
        try:
            draft = preflight(request)
            with watch.stage("open candidate"):
                candidate = open_candidate(request, draft)
            settled = settle(request, draft, candidate, candidate.checkpoint.path)
            if (told := never_measured(draft, settled.precisions)) is not None:
                watch.progress.hint(told)
        except UsageError:
            if request.out is not None:
                if earlier is not None and request.suite is not None:
                    earlier.assert_same(suite=request.suite)  # another's run stays, whatever else is wrong
                abandon(request.out)
            raise
        out = request.out or Path("runs") / f"{candidate.place.directory.name}-{candidate.checkpoint.digest[:12]}"
        earlier = earlier or held.enter_context(taken(out, replace=request.replace))
        return _check_into(out, earlier, request, settled, draft, candidate, watch), out


def _check_into(
    out: Path,
    earlier: Earlier,
    request: Request,
    settled: Settled,
    draft: PolicyDraft,
    candidate: Intake,
    watch: Stopwatch,
) -> Run:
    """Measure and judge into a directory that is held."""
    log = out / LOG
    try:
        earlier.assert_same(candidate=candidate.checkpoint.digest, suite=settled.suite, policy=draft.digest)
        with chatter_to(log):
            ready = _prepare(request, settled, draft, candidate, watch, earlier)
            clear(out)
            earlier.discard()
            run, scores, attributed = _measure(request, ready, watch)
        for each in attributed:
            each.write(out / ATTRIBUTION)
        for trials in ready.residues.trials:
            write_trials(out / RESIDUE, trials)
        write_weights(out / WEIGHTS, ready.bench.drift, ready.lineages, run)
        write_run(run, scores, out)
        write_report(out)
        if request.release is not None and run.verdict.passed:
            write_release(ready.candidate.sealed_in, ready.candidate.sealed, request.release)
        return run
    except UsageError:
        abandon(out)
        raise
    except MeasurementError as error:
        error.fix = error.fix or f"What the libraries themselves printed is in {log}."
        raise


@dataclass(frozen=True, kw_only=True)
class Ready:
    """Everything that a user could have got wrong has been looked at; what is left is to measure."""

    candidate: Intake
    artifacts: Mapping[str, Intake]
    lineages: Lineages
    retrained: Intake | None
    policy: Policy
    settled: Settled
    bench: Bench
    erasure: Erasure
    elsewhere: Elsewhere
    calibrations: WorstCalibration
    residues: Residues
    notes: tuple[str, ...]


def _prepare(
    request: Request, settled: Settled, draft: PolicyDraft, candidate: Intake, watch: Stopwatch, earlier: Earlier
) -> Ready:
    erasing = sum(each in PRECISIONS for each in settled.precisions)
    steps = 6 + 2 * len(settled.precisions) + 2 * erasing
    watch.progress.plan(steps)
    with watch.stage("open base"):
        base, artifacts, lineages, notes = open_others(request, settled, candidate, earlier)
    retrained = open_retrained(request, base, candidate, watch)
    with watch.stage("render the suite"):
        suite = load_suite(settled.suite, request.tasks_dirs)
        tokenizer = open_tokenizer(base.checkpoint.path)
        chat = Chat(tokenizer) if request.apply_chat_template else None
        sealed = _sealed(request, draft, suite)
        asked = partial(render, suite, limit=request.limit, seed=request.seed, data_dir=request.data_dir)
        rendered = asked(chat=chat, tokenizer=tokenizer)
        if sealed is not None:
            assert_items(sealed, rendered)
    bench = _bench(request, settled, rendered, base, watch)
    for intake in (candidate, *artifacts.values()):
        assert_same_ids(rendered, bench.tokenizer, intake, padding_ids(base, intake))
    never_saw = retrained.checkpoint.digest if retrained is not None else None
    elsewhere = Elsewhere(
        bench=bench, candidate=candidate, items=request.dtype_items, seed=request.seed, retrained=never_saw
    )
    calibrations = WorstCalibration(bench=bench, candidate=candidate, asked=request.calibration)
    policy = resolve(draft, rendered.records, known_precisions())
    wanted = request.measures | {limit.metric for limit in policy.limits}
    residues = Residues(bench=bench, candidate=candidate, retrained=retrained, wanted=wanted, seed=request.seed)
    more = elsewhere.stages(settled.precisions) + calibrations.stages(settled.precisions, artifacts)
    more += residues.stages(settled.precisions)
    watch.progress.plan(steps + more + (len(SHARES) if request.doses else 0))
    return Ready(
        candidate=candidate,
        artifacts=artifacts,
        lineages=lineages,
        retrained=retrained,
        policy=policy,
        settled=settled,
        bench=bench,
        erasure=Erasure(bench=bench, candidate=candidate, seed=request.seed),  # reads the prompt pairs
        elsewhere=elsewhere,
        calibrations=calibrations,
        residues=residues,
        notes=(
            *(*settled.notes, *candidate.notes, *notes, *rendered.notes, *((sealed.note,) if sealed else ())),
            *foreign_reference(rendered.records, base.config, retrained=retrained is not None),
        ),
    )


def _sealed(request: Request, draft: PolicyDraft, suite: Suite) -> Held | None:
    """The seal that was asked for, if this is its rule; the suite may be known only now."""
    if request.seal is None:
        return None
    held = read_seal(request.seal)
    assert_rule(held, policy=draft.digest, suite=suite, seed=request.seed, limit=request.limit)
    return held


def _measure(
    request: Request, ready: Ready, watch: Stopwatch
) -> tuple[Run, tuple[TaskScore, ...], tuple[Attributed, ...]]:
    started, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    seed_everything(request.seed)
    bench, precisions = ready.bench, ready.settled.precisions
    base, candidate = bench.base.checkpoint, ready.candidate.checkpoint
    scores = all_scores(bench, precisions, bench.base, ready.candidate, ready.artifacts)
    scores += retrained_scores(bench, ready.retrained)
    scores, spreads = ready.calibrations.measure(precisions, ready.artifacts, scores)
    never_saw = ready.retrained.checkpoint.digest if ready.retrained is not None else None
    gaps = ready.elsewhere.measure(precisions, ready.artifacts, scores)
    erased = ready.erasure.measure(precisions, ready.artifacts)
    left = ready.residues.measure(precisions, ready.artifacts, scores)
    weights = weigh(bench, ready.candidate, precisions, ready.artifacts, ready.lineages)
    dosed = mixtures(bench, ready.candidate) if request.doses else {}
    with watch.stage("judge"):
        derived = derive(scores, base=base.digest, candidate=candidate.digest, seed=request.seed, retrained=never_saw)
        measurements = (*derived, *gaps, *erased, *left, *weights, *spreads)
        complete = request.limit is None
        verdict = judge(ready.policy.limits, measurements, candidate=candidate.digest, complete=complete)
    unknown_tasks = unknown(scores, base=base.digest, seed=request.seed, retrained=never_saw)
    run = Run(
        suite=ready.settled.suite,
        policy=ready.policy,
        base=bench.base.named,
        candidate=ready.candidate.named,
        retrained=ready.retrained.named if ready.retrained is not None else None,
        artifacts={precision: each.named for precision, each in ready.artifacts.items()},
        prompts=bench.rendered.prompts(bench.tokenizer),
        doses=doses(
            scores, dosed, base=base.digest, candidate=candidate.digest, seed=request.seed, retrained=never_saw
        ),
        calibrations=tuple(ready.calibrations.found),
        tasks=bench.rendered.records,
        measurements=measurements,
        verdict=verdict,
        stages=tuple(watch.stages),
        environment=describe(device=bench.placement.device_map, dtype=str(bench.placement.dtype), seed=request.seed),
        started=started,
        seconds=time.monotonic() - begin,
        limit=request.limit,
        notes=(*ready.notes, *bench.notes, *bench.store.warnings, *unknown_tasks),
        warnings=_warnings(ready.policy, bench.rendered, complete=complete),
    )
    more = (*ready.elsewhere.scores, *ready.calibrations.scores, *(each for held in dosed.values() for each in held))
    return run, (*scores, *more), tuple(ready.erasure.attributed)


def _warnings(policy: Policy, rendered: Rendered, *, complete: bool) -> tuple[str, ...]:
    """What the policy and the suite cannot tell, however the candidate answers."""
    prompts = {each.task.name: [item.prompt for item in each.items] for each in rendered.tasks}
    return (
        *policy_warnings(policy.limits, rendered.records),
        *suite_warnings(rendered.records, prompts, complete=complete),
    )


def _bench(request: Request, settled: Settled, rendered: Rendered, base: Intake, watch: Stopwatch) -> Bench:
    device = choose_device(request.device)
    calibration, notes = chosen_calibration(settled, rendered, base)
    return Bench(
        rendered=rendered,
        base=base,
        calibration=calibration,
        placement=Placement(device_map=device_map(device), dtype=choose_dtype(request.dtype, device)),
        batch_size=request.batch_size,
        store=Store(default_root()),
        watch=watch,
        notes=notes,
    )
