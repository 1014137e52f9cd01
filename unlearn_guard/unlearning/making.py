"""`unlearn`, from a base and a method's name to a candidate that `check` can judge.

    open base -> read the suite's corpora -> configure the method -> load -> unlearn -> write

The candidate appears whole or not at all. What a killed run has trained lies beside it, and the same command goes on
from there.
"""

import hashlib
import inspect
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, overload

from unlearn_guard.attribution.prompts import Pair
from unlearn_guard.checking.checkpoints import open_sealed
from unlearn_guard.checking.prompt_pairs import suite_pairs
from unlearn_guard.environment import choose_device, seed_everything, versions
from unlearn_guard.errors import StorageError, SuiteError, UsageError, near
from unlearn_guard.intake import Intake, open_tokenizer
from unlearn_guard.organism import EMBEDDED
from unlearn_guard.records import Source
from unlearn_guard.registry import method as find_method
from unlearn_guard.scoring.evaluate import render
from unlearn_guard.scoring.suites import Suite, load_suite
from unlearn_guard.unlearning.candidate import write_candidate
from unlearn_guard.unlearning.corpora import Corpora
from unlearn_guard.unlearning.lora import Lora, adapted, assert_trains_adapters, described, write_adapter
from unlearn_guard.unlearning.reading import read_corpora
from unlearn_guard.unlearning.rows import folder_sources
from unlearn_guard.unlearning.session import Listener, Point, Session, opened
from unlearn_guard.unlearning.settings import configure, hyperparameters

_CURVE_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class UnlearnRequest:
    """One `unlearn` as the user asked for it."""

    method: str
    base: str
    suite: str
    out: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    corpora: Path | None = None
    fold: str | None = None
    methods_dir: Path | None = None
    tasks_dirs: tuple[Path, ...] = ()
    data_dir: Path | None = None
    device: str = "auto"
    seed: int = 0
    lora: Mapping[str, str] | None = None  # train an adapter with these settings, and no weight of base


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A candidate on disk: its directory, the tensors that changed (or layers that are adapted), and the loss curve."""

    path: Path
    changed: tuple[str, ...]
    curve: tuple[Point, ...]


def unlearn(request: UnlearnRequest, listener: Listener | None = None) -> Made:
    """Make a candidate. Raises UsageError before anything is trained, MeasurementError when training fails."""
    _assert_new(request.out)
    made = find_method(request.method, [request.methods_dir] if request.methods_dir else [])
    suite = load_suite(request.suite, request.tasks_dirs)
    found = suite.unlearn.hyperparameters.get(request.method, {}) if suite.unlearn else {}
    configured = configure(made, request.method, found, request.settings)
    lora = _lora(request, made)
    base = open_sealed(request.base)
    tokenizer = open_tokenizer(base.checkpoint.path)
    corpora = _corpora(request, suite, tokenizer)
    manifest = _manifest(request, base, suite, {**hyperparameters(configured), **described(lora)}, corpora)
    state = request.out.parent / f".{request.out.name}.state"
    source = Path(inspect.getfile(made)).read_text(encoding="utf-8")  # a method that is being written changes
    session = Session(listener=listener, folder=state, fingerprint=_digest(manifest, source, versions()))
    seed_everything(request.seed)
    model = _load(base, choose_device(request.device))
    adapter = adapted(model, lora, base.location) if lora is not None else None
    with opened(session):
        configured.unlearn(model, corpora, seed=request.seed)
    manifest |= {"curve": _thinned(session.curve)}
    if adapter is not None:
        changed = _publish(request.out, lambda part: write_adapter(adapter, part, manifest))
    else:
        files, copies = list(base.sealed), base.copies
        changed = _publish(
            request.out, lambda part: write_candidate(model, base.checkpoint, copies, files, part, manifest)
        )
    shutil.rmtree(state, ignore_errors=True)  # what is left of it, the next run's fingerprint rejects
    return Made(path=request.out, changed=changed, curve=tuple(session.curve))


def _assert_new(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not an empty directory", fix="Give a new one; nothing is overwritten.")


def _corpora(request: UnlearnRequest, suite: Suite, tokenizer: Any) -> Corpora:
    sources = _sources(request, suite)
    return read_corpora(
        sources["forget"],
        sources["retain"],
        sources["refused"],
        tokenizer=tokenizer,
        include=suite.include,
        pairs=_Later(lambda: _pairs(suite, tokenizer, request.data_dir)),
        seed=request.seed,
    )


def _sources(request: UnlearnRequest, suite: Suite) -> dict[str, tuple[Source, ...]]:
    """Where the corpora are: the user's folder, the suite's own, or a fold in the place of its forget corpus."""
    if request.corpora is not None:
        if request.fold is not None:
            raise UsageError("--corpora and --fold both name a forget corpus", fix="Give one of them.")
        return folder_sources(request.corpora)
    if suite.unlearn is None:
        raise SuiteError(
            f"suite {suite.name!r} names no corpora to unlearn with",
            fix="Give --corpora DIR with forget.jsonl and retain.jsonl, or add `unlearn:` to the suite.",
        )
    found = {name: getattr(suite.unlearn, name) for name in ("forget", "retain", "refused")}
    if request.fold is None:
        return found
    if request.fold not in suite.unlearn.folds:
        raise SuiteError(
            f"suite {suite.name!r} has no fold {request.fold!r}", fix=near(request.fold, suite.unlearn.folds)
        )
    return {**found, "forget": suite.unlearn.folds[request.fold]}


def _pairs(suite: Suite, tokenizer: Any, data_dir: Path | None) -> tuple[Pair, ...]:
    """The pairs of every forget task that has some, the tasks in turn."""
    tasks = list(suite_pairs(render(suite, data_dir=data_dir, tokenizer=tokenizer), tokenizer).pairs.values())
    longest = max(map(len, tasks), default=0)
    return tuple(pairs[place] for place in range(longest) for pairs in tasks if place < len(pairs))


class _Later(Sequence[Pair]):
    """Pairs that are rendered when a method first looks at them: most never do, and the suite's data may be far."""

    def __init__(self, make: Callable[[], tuple[Pair, ...]]) -> None:
        self._make = make
        self._made: tuple[Pair, ...] | None = None

    def _all(self) -> tuple[Pair, ...]:
        if self._made is None:
            self._made = self._make()
        return self._made

    @overload
    def __getitem__(self, place: int) -> Pair: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Pair, ...]: ...

    def __getitem__(self, place: int | slice) -> Pair | tuple[Pair, ...]:
        return self._all()[place]

    def __len__(self) -> int:
        return len(self._all())


def _manifest(
    request: UnlearnRequest, base: Intake, suite: Suite, settings: Mapping[str, Any], corpora: Corpora
) -> dict[str, Any]:
    """What the candidate says of itself; the guard shows it and believes none of it."""
    digest = base.checkpoint.digest
    embedded = next((name for name, known in EMBEDDED.items() if known == digest), None)
    return {
        "base": embedded or base.location,
        "base_digest": digest,
        "suite": suite.name,
        "method": request.method,
        "hyperparameters": dict(settings),
        "seed": request.seed,
        "corpora_digest": _digest(
            [[asdict(text) for text in texts] for texts in (corpora.forget, corpora.retain, corpora.refused)],
            {role: [asdict(question) for question in asked] for role, asked in corpora.questions.items()},
        ),
    }


def _digest(*values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _load(base: Intake, device: str) -> Any:
    """Base in the dtype it is stored in; float32 where it is stored in several, as that holds each of them exactly."""
    import torch
    from transformers import AutoModelForCausalLM

    stored = {tensor.dtype for tensor in base.tensors}
    dtype = "auto" if len(stored) == 1 else torch.float32
    # Eager attention: on a CPU its backward pass is nearly twice as fast as SDPA's at these lengths.
    attention = "eager" if device == "cpu" else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(
        base.checkpoint.path, dtype=dtype, attn_implementation=attention, local_files_only=True, trust_remote_code=False
    )
    return model.to(device).eval()


def _lora(request: UnlearnRequest, method: type[Any]) -> Lora | None:
    """The adapter that is asked for. Raises UsageError where this method trains none, or for a setting it lacks."""
    if request.lora is None:
        return None
    assert_trains_adapters(method, request.method)
    lora: Lora = configure(Lora, "--lora", request.lora)
    return lora


def _publish(out: Path, write: Callable[[Path], tuple[str, ...]]) -> tuple[str, ...]:
    """Write beside `out`, then put it there in one step; what `write` says has changed."""
    part = out.parent / f".{out.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        out.parent.mkdir(parents=True, exist_ok=True)
        changed = write(part)
        part.replace(out)
    except OSError as error:
        raise StorageError(f"{out} could not be written: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return changed


def _thinned(curve: Sequence[Point]) -> list[dict[str, float | None]]:
    """At most some hundred points of the loss curve, the last among them."""
    every = max(1, -(-len(curve) // _CURVE_POINTS))
    kept = [point for place, point in enumerate(curve) if place % every == 0 or place + 1 == len(curve)]
    return [{"step": point.step, "forget": point.forget, "retain": point.retain} for point in kept]
