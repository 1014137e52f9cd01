"""`init suite`, from files of questions to a suite that `check` and `unlearn` take by its name."""

from dataclasses import dataclass, replace
from pathlib import Path
from string import ascii_uppercase

from unlearn_guard.attribution.prompts import assert_shape
from unlearn_guard.authoring.entry import shuffled
from unlearn_guard.authoring.form import Ask
from unlearn_guard.authoring.questions_file import Questions, read_questions
from unlearn_guard.authoring.suite_writer import PAIRS, Draft, write_suite
from unlearn_guard.authoring.text_corpora import CORPORA, read_corpora
from unlearn_guard.errors import StorageError, SuiteError, UsageError
from unlearn_guard.processes.half_made import making
from unlearn_guard.records import Role
from unlearn_guard.scoring.suites import NEUTRAL, SWAPPED, Suite, load_suite

TELLING = 8
"""Of so many questions and more, answers that all stand in one place are no chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRequest:
    """One `init suite` as the user asked for it."""

    name: str
    forget: Path
    retain: Path | None = None
    corpora: Path | None = None
    ask: Ask = "letters"
    about: str | None = None
    pairs: str = SWAPPED
    shuffle: bool = False
    out: Path = Path("suites")
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """The suite as it can be loaded now, and the keys of its questions that were left out."""

    suite: Suite
    ignored: tuple[str, ...]


def init_suite(request: SuiteRequest) -> Written:
    """Write a suite, whole or not at all. Raises UsageError for what cannot be asked, or would be overwritten."""
    questions = read_questions(request.forget, request.retain)
    if request.shuffle:
        entries = tuple(shuffled(each, 0) if each.choices else each for each in questions.entries)
        questions = replace(questions, entries=entries)
    _assert_askable(request, questions)
    draft = Draft(
        name=request.name,
        questions=questions,
        ask=request.ask,
        about=request.about,
        pairs=request.pairs if request.pairs in (NEUTRAL, SWAPPED) else _pairs(Path(request.pairs)),
        corpora=read_corpora(request.corpora) if request.corpora is not None else None,
    )
    _assert_free(request)
    with making(request.out) as scratch:
        write_suite(draft, scratch)
        load_suite(scratch / f"{draft.name}.yaml")
        _publish(scratch, request)
    return Written(suite=load_suite(request.out / f"{draft.name}.yaml"), ignored=questions.ignored)


def _assert_askable(request: SuiteRequest, questions: Questions) -> None:
    chosen = {role: questions.of(role) for role in (Role.FORGET, Role.RETAIN) if questions.of(role)[0].choices}
    lettered = chosen if request.ask == "letters" else {}
    if request.pairs == NEUTRAL and Role.FORGET not in lettered:
        raise UsageError("--pairs neutral is for letters, and these are not", fix="Leave it out: swapped is for all.")
    if request.about is not None and not lettered:
        raise UsageError("--about is the line before lettered questions, and these are not", fix="Leave it out.")
    if request.shuffle and not chosen:
        raise UsageError("--shuffle, and no question has choices", fix="Leave it out.")
    for role, entries in lettered.items():
        if len(entries) >= TELLING and len({each.right for each in entries}) == 1:
            raise SuiteError(
                f"the right answer of every {role} question is {ascii_uppercase[entries[0].right]}: a model that "
                "always says so would know all",
                fix="--shuffle draws the order of the choices anew; --ask texts asks for the choices' texts.",
            )


def _pairs(file: Path) -> bytes:
    if not file.is_file():
        raise UsageError(
            f"there is no file {file} of pairs", fix="--pairs takes neutral, swapped or a JSON Lines file."
        )
    assert_shape(file)
    return file.read_bytes()


def _assert_free(request: SuiteRequest) -> None:
    """Refuse to overwrite; and, with `--replace`, to take away what this command did not write."""
    suite, folder = request.out / f"{request.name}.yaml", request.out / request.name
    there = [path for path in (suite, folder) if path.exists()]
    if there and not request.replace:
        raise UsageError(
            f"{' and '.join(map(str, there))} would be overwritten",
            fix="Give --replace, another name, or another --out.",
        )
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", fix="Move it elsewhere, or give another name.")
    known = _ours(request.name)
    strange = sorted(
        str(path)
        for path in folder.rglob("*")
        if not path.is_dir() and "__pycache__" not in path.parts and path.relative_to(folder).as_posix() not in known
    )
    if strange:
        raise UsageError(
            f"{folder} holds what `init suite` does not write: {', '.join(strange[:5])}",
            fix="Move it elsewhere, or give another name.",
        )


def _ours(name: str) -> set[str]:
    tasks = {f"{name}_{role}{ending}.yaml" for role in ("forget", "retain") for ending in ("", "_rouge", "_prob")}
    corpora = {f"corpus/{each}.{ending}" for each in CORPORA for ending in ("jsonl", "parquet")}
    return tasks | corpora | {"utils.py", "answers.py", "forget.jsonl", "retain.jsonl", PAIRS}


def _publish(scratch: Path, request: SuiteRequest) -> None:
    """The folder first: without the suite's file nobody finds it, and a new file never stands over an old folder."""
    suite, folder = request.out / f"{request.name}.yaml", request.out / request.name
    try:
        suite.unlink(missing_ok=True)
        if folder.exists():
            folder.replace(scratch.parent / "replaced")
        (scratch / request.name).replace(folder)
        (scratch / suite.name).replace(suite)
    except OSError as error:
        raise StorageError(f"{folder} could not be written: {error.strerror or error}") from error
