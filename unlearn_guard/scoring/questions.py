"""A suite's questions: items, the lm-eval tasks that they belong to, and all of them together."""

from dataclasses import dataclass, field
from typing import Any

from lm_eval.api.instance import Instance

from unlearn_guard.records import Prompt, Task
from unlearn_guard.scoring.suites import Suite
from unlearn_guard.scoring.tokens import Tokens, fingerprint
from unlearn_guard.scoring.words import Manner

FIRST_TOKENS = 8
"""How many token ids of a prompt are recorded: enough for BOS and template, too few for a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One question: `id` is its task and its place in the dataset, `prompt` the sha256 of all that is asked.

    `requests` are lm-eval's, one for each choice; nothing is ever written into them.
    """

    id: str
    prompt: str
    target: str
    requests: tuple[Instance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """One lm-eval task with its items, and the filter and metric that count."""

    name: str
    task: Any
    metric: str
    filter: str
    items: tuple[Item, ...]

    @property
    def each_token(self) -> bool:
        """Whether the metric reads of each token more than its likelihood."""
        return Manner.of(self.task.config.metadata).each_token


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedTask:
    """A suite's task, ready to be asked: one leaf, or those of a group."""

    task: Task
    leaves: tuple[Leaf, ...]

    @property
    def items(self) -> tuple[Item, ...]:
        """All items, leaf after leaf, each in its dataset's order."""
        return tuple(item for leaf in self.leaves for item in leaf.items)

    @property
    def each_token(self) -> tuple[bool, ...]:
        """Of each item, in the same order, whether its metric reads of each token more than its likelihood."""
        return tuple(leaf.each_token for leaf in self.leaves for _ in leaf.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """Every question of a suite. Token ids are kept here too, once for all models that share a tokenizer.

    `bare` are the tasks whose own words need a tokenizer that was not there: they can be looked at, and not asked.
    """

    suite: Suite
    tasks: tuple[RenderedTask, ...]
    limit: int | None
    seed: int
    templated: bool = False
    notes: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    _tokens: dict[str, Tokens] = field(default_factory=dict, repr=False, compare=False)

    @property
    def records(self) -> tuple[Task, ...]:
        """The tasks as the run records them, in the suite's order."""
        return tuple(each.task for each in self.tasks)

    def prompts(self, tokenizer: Any) -> tuple[Prompt, ...]:
        """How each task's prompts begin and were made."""
        tokens = self.tokens(tokenizer)
        return tuple(
            Prompt(
                task=each.task.name,
                few_shot=max(int(leaf.task.config.num_fewshot or 0) for leaf in each.leaves),
                chat_template=self._templated(each),
                tokens=tokens.texts([str(each.items[0].requests[0].args[0])])[0][:FIRST_TOKENS],
            )
            for each in self.tasks
        )

    def _templated(self, task: RenderedTask) -> bool:
        """Whether a task's prompts went through a chat template: by its own word, else by the option."""
        manners = [Manner.of(leaf.task.config.metadata) for leaf in task.leaves]
        own = any(each.own for each in manners)
        return any(each.chat_template for each in manners) if own else self.templated

    def tokens(self, tokenizer: Any) -> Tokens:
        """The ids of these questions under this tokenizer, remembered from model to model."""
        for known in self._tokens.values():
            if known.tokenizer is tokenizer:  # a fingerprint takes half a second of a vocabulary of 49,152
                return known
        key = fingerprint(tokenizer)
        if key not in self._tokens:
            self._tokens[key] = Tokens(tokenizer)
        return self._tokens[key]
