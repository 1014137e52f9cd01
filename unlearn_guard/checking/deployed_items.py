"""Every question of a run in token ids, by base's tokenizer and by the one that the candidate's user will load."""

from collections.abc import Collection, Iterator
from typing import Any

from unlearn_guard.checking.gguf_artifact import assert_llama_cpp_reads_alike
from unlearn_guard.errors import CheckpointError, Defect, ScoringError
from unlearn_guard.intake import Intake, cleans_up, open_tokenizer
from unlearn_guard.quantizers.gguf_mix import PRECISIONS
from unlearn_guard.scoring.questions import Rendered, RenderedTask
from unlearn_guard.scoring.tokens import Tokens

_SHOWN = 12


def assert_same_ids(rendered: Rendered, base: Any, intake: Intake, pads: Collection[int] = ()) -> None:
    """Raise CheckpointError where any prompt or choice has other ids under the checkpoint's own loaded tokenizer.

    Also where its padding id stands in one of them, or one of `pads`, the padding ids of its generation config that
    base's has not: `generate` takes them out of the mask that it makes for a caller who gives none. And where a task
    has answers written, and its tokenizer writes ids out otherwise than base's.
    """
    if intake.checkpoint.precision in PRECISIONS:  # a GGUF file has a tokenizer of its own
        assert_llama_cpp_reads_alike(rendered, base, intake)
        return
    own = open_tokenizer(intake.checkpoint.path)
    ours, theirs = rendered.tokens(base), Tokens(own)
    padding = {*pads, own.pad_token_id} - {None, base.pad_token_id, own.eos_token_id}
    defects: list[Defect] = []
    for task in rendered.tasks:
        try:
            defects += _first_difference(task, ours, theirs, padding)
        except ScoringError as error:
            defects.append(Defect(where=task.task.name, found=str(error), expected="base's token ids"))
        if _written(task) and cleans_up(own) != cleans_up(base):
            found = f"clean_up_tokenization_spaces {str(cleans_up(own)).lower()}, which changes written answers"
            defects.append(Defect(where=task.task.name, found=found, expected="base's"))
    if defects:
        fix = "Copy base's tokenizer files: what a user will load must read the questions as they were scored."
        raise CheckpointError(
            f"{intake.location}: its own tokenizer reads the suite's texts otherwise than base's", defects, fix=fix
        )


def _written(task: RenderedTask) -> bool:
    return any(request.request_type == "generate_until" for item in task.items for request in item.requests)


def _first_difference(task: RenderedTask, ours: Tokens, theirs: Tokens, pads: Collection[int]) -> Iterator[Defect]:
    requests = [request for item in task.items for request in item.requests]
    pairs = [request.args for request in requests if request.request_type == "loglikelihood"]
    texts = [str(request.args[0]) for request in requests if request.request_type != "loglikelihood"]
    left = [[*context, *rest] for context, rest in ours.pairs(pairs)] + [list(ids) for ids in ours.texts(texts)]
    right = [[*context, *rest] for context, rest in theirs.pairs(pairs)] + [list(ids) for ids in theirs.texts(texts)]
    splits = [len(context) for context, _ in ours.pairs(pairs)], [len(context) for context, _ in theirs.pairs(pairs)]
    for index, (before, after) in enumerate(zip(left, right, strict=True)):
        if before != after or (index < len(pairs) and splits[0][index] != splits[1][index]):
            place = next((at for at, both in enumerate(zip(before, after, strict=False)) if both[0] != both[1]), 0)
            found = f"token ids {after[place : place + _SHOWN]} from position {place} of text {index}"
            yield Defect(where=task.task.name, found=found, expected=f"base's {before[place : place + _SHOWN]}")
            return
        if held := {*pads} & {*before}:
            found = f"the padding id {min(held)} inside text {index}"
            yield Defect(where=task.task.name, found=found, expected="a padding id that no text holds")
            return
