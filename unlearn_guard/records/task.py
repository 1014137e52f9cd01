"""What is asked: tasks, how their prompts were made, and where a corpus comes from."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Role(StrEnum):
    """Whether a task asks for what should be gone, for what should have stayed, or feeds a measure of its own.

    From a probe no drop or gap is derived: what its items say together is a number like `privleak`.
    """

    FORGET = "forget"
    RETAIN = "retain"
    PROBE = "probe"


class Phrasing(StrEnum):
    """Whether a forget task asks as the forget set does, or in words that nobody who unlearns is to train on."""

    TRAINED = "trained"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One lm-eval task as rendered for this run: `items` questions whose texts and targets hash to `digest`.

    `measure` names the number beyond its own score that the task feeds (`privleak`, `forget_quality`,
    `model_utility`), `retrained` what a model that never saw the forget set makes of that, where it is published.
    `chance` is the score of an answer drawn blindly, `floor` that of a model that never learnt what is asked, where it
    is known to be more: a text earns ROUGE by words of the question. `likeliest`: an answer is right where the choice
    whose index is the target has the largest log-likelihood, the first of equals, so that anybody can count
    again. `written`: the model answers in words.
    """

    name: str
    role: Role
    metric: str
    chance: float
    items: int
    digest: str
    measure: str | None = None
    retrained: float | None = None
    floor: float | None = None
    likeliest: bool = False
    written: bool = False
    phrasing: Phrasing = Phrasing.TRAINED

    @property
    def guessed(self) -> float:
        """What a model that never learnt it scores: the floor where that is more than chance."""
        return self.chance if self.floor is None else max(self.chance, self.floor)

    def __post_init__(self) -> None:
        if self.items < 1:
            raise ValueError(f"task {self.name} has no items")
        if self.floor is not None and not 0.0 <= self.floor < 1.0:
            raise ValueError(f"task {self.name}: floor {self.floor} is not in [0, 1)")
        if not 0.0 <= self.chance < 1.0:
            raise ValueError(f"task {self.name}: chance {self.chance} is not in [0, 1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """How a task's prompts were made: examples shown, chat template or none, and the first token ids of one of them.

    A few ids tell a missing or doubled BOS and a wrong template; they are too few to tell a question.
    """

    task: str
    few_shot: int
    chat_template: bool
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the rows of a corpus are: a file or folder of JSON Lines or parquet, or a split of a hub dataset.

    `column` holds the text of rows that are plain texts. Of rows that are questions, `description` comes before each,
    and each is rendered `times` times with its options drawn and shuffled anew. `asked` names the task whose words rows
    of question and answer are put in: template, delimiter and end of text are then the task's.
    """

    path: Path | None = None
    dataset: str | None = None
    config: str | None = None
    split: str = "train"
    revision: str | None = None
    column: str = "text"
    description: str = ""
    times: int = 1
    asked: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.path is not None else f"dataset {self.dataset} ({self.config or self.split})"
