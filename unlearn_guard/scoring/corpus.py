"""What a suite says of unlearning: where its forget and retain corpora lie, and hyperparameters found for its base."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unlearn_guard.records import Source

_Text = Annotated[str, Field(min_length=1, max_length=4000)]
_Scalar = bool | int | float | str | None
Find = Callable[[str], Path]
"""Where a file lies that the suite names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporaSpec:
    """Sources of the forget and the retain corpus, and of prompts without an answer, where there are such.

    `folds` are other forget corpora by name, such as MUSE's growing and successive ones. `hyperparameters` are by
    method: what a search on this suite's base found, in place of a method's defaults.
    """

    forget: tuple[Source, ...]
    retain: tuple[Source, ...]
    refused: tuple[Source, ...]
    folds: Mapping[str, tuple[Source, ...]]
    hyperparameters: Mapping[str, Mapping[str, Any]]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SourceModel(_Strict):
    """One entry of a corpus in the suite's file: either `file`, or `dataset` with its split."""

    file: _Text | None = None
    dataset: _Text | None = None
    config: _Text | None = None
    split: _Text = "train"
    revision: _Text | None = None
    column: _Text = "text"
    description: str = ""
    asked: _Text | None = None
    times: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _one_place(self) -> "SourceModel":
        if (self.file is None) == (self.dataset is None):
            raise ValueError("exactly one of `file` and `dataset`")
        if self.asked is not None and self.description:
            raise ValueError("`description` beside `asked`, whose task has its own")
        return self

    def source(self, find: Find) -> Source:
        """As a record, with its file where `find` says."""
        return Source(
            path=find(self.file).resolve() if self.file is not None else None,
            dataset=self.dataset,
            config=self.config,
            split=self.split,
            revision=self.revision,
            column=self.column,
            description=self.description,
            asked=self.asked,
            times=self.times,
        )


class CorporaModel(_Strict):
    """The suite's key `unlearn`."""

    forget: Annotated[list[SourceModel], Field(min_length=1)]
    retain: Annotated[list[SourceModel], Field(min_length=1)]
    refused: list[SourceModel] = []
    folds: dict[str, Annotated[list[SourceModel], Field(min_length=1)]] = {}
    hyperparameters: dict[str, dict[str, _Scalar]] = {}

    def spec(self, find: Find) -> CorporaSpec:
        """As records."""
        return CorporaSpec(
            forget=_sources(self.forget, find),
            retain=_sources(self.retain, find),
            refused=_sources(self.refused, find),
            folds={name: _sources(each, find) for name, each in self.folds.items()},
            hyperparameters=self.hyperparameters,
        )


def _sources(models: Sequence[SourceModel], find: Find) -> tuple[Source, ...]:
    return tuple(each.source(find) for each in models)
