"""What can be known to be wrong before a model is copied and hashed, all of it at once.

Policy, suite, precisions, device, the directories' configs and headers: seconds, where hashing two models takes
minutes. Nothing here is believed later: each stage looks again at what was sealed.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.checking.adapted import look_at_candidate
from unlearn_guard.checking.checkpoints import assert_adapter, assert_precisions
from unlearn_guard.checking.gguf_artifact import look_at
from unlearn_guard.checking.policy_seal import assert_rule, read_seal
from unlearn_guard.checking.possible import possible
from unlearn_guard.checking.request import DEFAULT_PRECISIONS, Request, Settled, UnsettledError, assert_new, settle
from unlearn_guard.environment import choose_device
from unlearn_guard.errors import CheckpointError, UsageError
from unlearn_guard.intake import Outline, is_remote, look
from unlearn_guard.judging.thresholds import read_policy, resolve
from unlearn_guard.quantizers.gguf_mix import PRECISIONS
from unlearn_guard.records import ALL, FULL
from unlearn_guard.registry import precisions as known_precisions
from unlearn_guard.registry import quantizer
from unlearn_guard.scoring.suites import load_suite

if TYPE_CHECKING:
    from unlearn_guard.judging.draft import PolicyDraft

_WIDTHS = (("hidden_size", "n_embd", "d_model"), ("num_hidden_layers", "n_layer", "num_layers"))
"""Config keys that every tensor's shape, or the number of tensors, follows from, by whatever name."""

_MORE = ("vocab_size", "intermediate_size", "num_attention_heads", "num_key_value_heads")


def preflight(request: Request) -> "PolicyDraft":
    """The policy, once everything cheap is sound. Raises UsageError: the one mistake, or all of them together."""
    found: list[UsageError] = []
    draft: PolicyDraft | None = None
    candidate: Outline | None = None
    with _noted(found):
        draft = read_policy(request.policy)
    with _noted(found):
        assert_new(request.release)
    with _noted(found):
        choose_device(request.device)
    with _noted(found):
        _ = request.measures
    if not is_remote(request.checkpoint):
        with _noted(found):
            candidate = look_at_candidate(request.checkpoint)
    settled = _settled(request, draft, candidate, found)
    _assert_names(request, draft, candidate, settled, found)
    if settled is not None and not is_remote(settled.base):
        with _noted(found):
            base = look(settled.base)
            if candidate is not None:
                _assert_alike(base, candidate)
    for name, path in request.artifacts.items():
        if not is_remote(path):
            with _noted(found):
                look_at(path) if name in PRECISIONS else look(path, precision=name)
    if draft is None or (found and not _waits(found, candidate, settled)):
        raise _together(found)
    return draft


def _waits(found: list[UsageError], candidate: Outline | None, settled: Settled | None) -> bool:
    """Whether all that is wrong is that nobody named base or suite: then the candidate's own defects are told first."""
    return settled is None and candidate is not None and len(found) == 1 and isinstance(found[0], UnsettledError)


@contextmanager
def _noted(found: list[UsageError]) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        found.append(error)


def _settled(
    request: Request, draft: "PolicyDraft | None", candidate: Outline | None, found: list[UsageError]
) -> Settled | None:
    """Base, suite and precisions, where they are known before the candidate is opened."""
    if draft is None or (candidate is None and (request.base or draft.base) is None):
        return None
    with _noted(found):
        path = candidate.directory if candidate is not None else None
        seen = candidate or Outline(location=request.checkpoint, directory=None, manifest=None, config={})
        return settle(request, draft, seen, path)
    return None


def _assert_names(
    request: Request,
    draft: "PolicyDraft | None",
    candidate: Outline | None,
    settled: Settled | None,
    found: list[UsageError],
) -> None:
    """What is called by a name is there: precisions, the suite, and all that the policy says of it."""
    measured = settled.precisions if settled is not None else request.precisions or DEFAULT_PRECISIONS
    if measured == (ALL,):
        measured, _ = possible(None)
    for precision in measured:
        with _noted(found):
            quantizer(precision)
    with _noted(found):
        assert_precisions(request.artifacts, measured)
    if settled is not None and candidate is not None:
        with _noted(found):
            assert_adapter(settled.precisions, candidate)
    name = settled.suite if settled is not None else request.suite
    if name is not None:
        with _noted(found):
            suite = load_suite(name, request.tasks_dirs)
            if draft is not None:
                resolve(draft, suite.tasks, known_precisions())
                if request.seal is not None:
                    held = read_seal(request.seal)
                    assert_rule(held, policy=draft.digest, suite=suite, seed=request.seed, limit=request.limit)


def _assert_alike(base: Outline, candidate: Outline) -> None:
    """Raise CheckpointError in one line where the two cannot be one architecture, whatever else differs."""
    kinds = (("model_type", base.config.get("model_type"), candidate.config.get("model_type")),)
    widths = [_pair(names, base.config, candidate.config) for names in _WIDTHS]
    differing = [each for each in (*kinds, *widths) if _differ(each)]
    if not differing:
        return
    differing += [each for each in (_pair((name,), base.config, candidate.config) for name in _MORE) if _differ(each)]
    key, ours, theirs = differing[0]
    more = f", {len(differing) - 1} more" if len(differing) > 1 else ""
    raise CheckpointError(
        f"{candidate.location} and its base {base.location} cannot be compared: another architecture: "
        f"{key} {theirs} / {ours}{more}",
        fix="Give the base that this candidate was made from.",
    )


_Pair = tuple[str, Any, Any]


def _pair(names: tuple[str, ...], base: Mapping[str, Any], candidate: Mapping[str, Any]) -> _Pair:
    """(key, base's value, the candidate's) of the first of these names that both have, else with two None."""
    key = next((name for name in names if name in base and name in candidate), names[0])
    return key, base.get(key), candidate.get(key)


def _differ(pair: _Pair) -> bool:
    _, ours, theirs = pair
    return ours is not None and theirs is not None and ours != theirs


def _together(found: list[UsageError]) -> UsageError:
    """One error as it is; of several, a list, each with its own defects and next step."""
    if len(found) == 1:
        return found[0]
    listed = (
        "\n    ".join(str(error).splitlines()) for error in dict(zip(map(str, found), found, strict=True)).values()
    )
    return UsageError(
        "\n".join(
            [f"{len(found)} mistakes; nothing was measured", *(f"  {n}. {text}" for n, text in enumerate(listed, 1))]
        )
    )


def never_measured(draft: "PolicyDraft", precisions: tuple[str, ...]) -> str | None:
    """What to say before a run that cannot pass: the policy has limits at precisions that it leaves out."""
    asked = {precision for rule in draft.rules for precision in rule.precisions}
    missing = [each for each in known_precisions() if each in asked and each not in precisions]
    if not missing:
        return None
    return (
        f"{draft.path} has limits at {', '.join(missing)}, which --precisions leaves out: this run can fail, and else "
        f"ends with 5, never with 0. To pass, measure {','.join(dict.fromkeys([FULL, *precisions, *missing]))}, or "
        f"judge by a policy without them (unlearn-guard policy show {Path(draft.path).name})."
    )
