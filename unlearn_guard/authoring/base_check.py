"""What a base says of a suite: its tokens, pairs and answers, and texts that it can be calibrated and trained on."""

from collections.abc import Sequence
from typing import Any

from unlearn_guard.authoring.findings import BaseFindings, Shown, SuiteCheck, defects_of
from unlearn_guard.checking.bench import Bench
from unlearn_guard.checking.checkpoints import open_sealed
from unlearn_guard.checking.progress import Silent, Stopwatch
from unlearn_guard.checking.usable_pairs import usable_pairs
from unlearn_guard.environment import choose_device, choose_dtype, device_map
from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.intake import Intake, open_tokenizer
from unlearn_guard.judging.knowing import known, unknown
from unlearn_guard.judging.scored import with_error
from unlearn_guard.quantizers.protocol import SHORTEST, Calibration, Placement
from unlearn_guard.records import FULL, Role, TaskScore
from unlearn_guard.runs.store import Store, default_root
from unlearn_guard.scoring.calibration import calibration_texts
from unlearn_guard.scoring.questions import Rendered
from unlearn_guard.unlearning.reading import read_corpora

_SEED = 0


def open_base(asked: SuiteCheck) -> tuple[Intake, Any]:
    """The base, verified, and its tokenizer."""
    base = open_sealed(str(asked.base))
    return base, open_tokenizer(base.checkpoint.path)


def check_base(asked: SuiteCheck, base: Intake, rendered: Rendered, shown: Sequence[Shown]) -> BaseFindings:
    """Base's side of the suite. Its answers go into the store, where `check` finds them."""
    device = choose_device(asked.device)
    bench = Bench(
        rendered=rendered,
        base=base,
        calibration=Calibration(texts=()),
        placement=Placement(device_map=device_map(device), dtype=choose_dtype(asked.dtype, device)),
        batch_size=asked.batch_size,
        store=Store(default_root()),
        watch=Stopwatch(progress=Silent()),
    )
    pairs = usable_pairs(rendered, bench.tokenizer)
    scores = bench.score("base", base, FULL, rendered.records)
    subject = base.checkpoint.digest
    return BaseFindings(
        tokens=tuple(_tokens(rendered, bench.tokenizer, each) for each in shown),
        pairs=pairs,
        scores={each.task.name: with_error(each, _SEED) for each in scores},
        known=known(scores, base=subject, seed=_SEED),
        defects=(
            *(defect for each in pairs for defect in each.defects),
            *_calibration(rendered, bench.tokenizer),
            *_corpora(rendered, bench.tokenizer),
            *_unknown(scores, subject),
        ),
        notes=tuple(bench.notes),
    )


def _tokens(rendered: Rendered, tokenizer: Any, shown: Shown) -> tuple[str, ...]:
    """The prompt's tokens as the model sees them, each as a text."""
    ids = rendered.tokens(tokenizer).texts([shown.prompt])[0]
    return tuple(tokenizer.decode([each]) for each in ids)


def _calibration(rendered: Rendered, tokenizer: Any) -> tuple[Defect, ...]:
    if rendered.suite.calibration is None:
        return ()
    try:
        calibration_texts(
            rendered,
            rendered.suite.calibration_samples,
            length=lambda text: len(tokenizer(text)["input_ids"]),
            shortest=SHORTEST,
        )
    except SuiteError as error:
        return defects_of(error, "calibration")
    return ()


def _corpora(rendered: Rendered, tokenizer: Any) -> tuple[Defect, ...]:
    """What `unlearn` would refuse of the corpora that lie here; a hub's are not fetched for this."""
    corpora = rendered.suite.unlearn
    if corpora is None or any(each.path is None for each in (*corpora.forget, *corpora.retain, *corpora.refused)):
        return ()
    try:
        include = rendered.suite.include
        read_corpora(corpora.forget, corpora.retain, corpora.refused, tokenizer=tokenizer, include=include)
    except SuiteError as error:
        return defects_of(error, "unlearn")
    return ()


def _unknown(scores: Sequence[TaskScore], base: str) -> tuple[Defect, ...]:
    """Tasks that base does not know: a limit on them would stay unmeasured."""
    found = {each.task.name: each for each in scores if each.task.role is not Role.PROBE}
    told = {name: unknown([score], base=base, seed=_SEED) for name, score in found.items()}
    fix = "Ask what base knows. A small model that knows no letters may know the texts: `init suite --ask texts`."
    return tuple(
        Defect(where=name, found=text, expected="a base that knows it", fix=fix)
        for name, texts in told.items()
        for text in texts
    )
