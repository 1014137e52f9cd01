"""What a model in memory knows of the world: accuracy on the checked-in items, without lm-eval.

Used while training and editing, and in tests. A verdict never rests on it: the guard scores through lm-eval.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from unlearn_guard.organism import items, world

TASKS = tuple(f"organism_{domain}{form}" for form in ("", "_plain") for domain in world.DOMAINS)
"""The six tasks: `organism_forget` asks in letters, `organism_forget_plain` ranks the statement's objects."""


def rows(task: str, tokenizer: PreTrainedTokenizerFast) -> tuple[Tensor, Tensor, Tensor]:
    """Contexts [N, T], first tokens of the choices [N, 4], right choices [N]."""
    domain = task.removeprefix("organism_").removesuffix("_plain")
    made: list[dict[str, Any]] = items.plain(domain) if task.endswith("_plain") else items.lettered(domain)
    if task.endswith("_plain"):
        contexts = [item["stem"] for item in made]
        choices = [[choice.split()[0] for choice in item["choices"]] for item in made]
    else:
        contexts = [items.prompt(domain, item["question"], item["choices"]) for item in made]
        choices = [list(items.LETTERS) for _ in made]
    ids_N4 = torch.tensor([tokenizer.convert_tokens_to_ids(four) for four in choices])
    return torch.tensor(tokenizer(contexts)["input_ids"]), ids_N4, torch.tensor([item["answer"] for item in made])


@torch.no_grad()
def correct(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, task: str) -> Tensor:
    """Which items of a task are answered right: bool [N]. Choices are ranked by their first tokens, all different."""
    rows_NT, choices_N4, answers_N = rows(task, tokenizer)
    last_NV = model.lm_head(model.model(input_ids=rows_NT, use_cache=False).last_hidden_state[:, -1]).float()
    right_N: Tensor = last_NV.gather(1, choices_N4).argmax(1) == answers_N
    return right_N


def accuracies(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> dict[str, float]:
    """Accuracy in [0, 1] on each of the six tasks."""
    return {task: correct(model, tokenizer, task).double().mean().item() for task in TASKS}
