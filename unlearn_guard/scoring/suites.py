"""A suite: which tasks ask for what should be gone, and which for what should have stayed.

A suite is one YAML file, `tasks/suites/NAME.yaml` or the user's own. Reading one imports neither
torch nor lm-eval; that its tasks exist is found out when they are rendered.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unlearn_guard.errors import Defect, SuiteError, near
from unlearn_guard.reading.strict_yaml import Document
from unlearn_guard.records import SUITE, WEIGHTS, Phrasing, Role
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.corpus import CorporaSpec
from unlearn_guard.scoring.place import Place
from unlearn_guard.scoring.suite_file import (
    CALIBRATION_SAMPLES,
    CalibrationModel,
    ProbeModel,
    SuiteFile,
    TaskModel,
    read_document,
    suite_file,
)
from unlearn_guard.scoring.yaml_file import read_mapping

NEUTRAL = "neutral"
"""The source of prompt pairs that puts a neutral stem in the place of a lettered question's."""

SWAPPED = "swapped"
"""The source of prompt pairs that puts another item's question in the place of a question."""

RETAIN_TASKS = "retain"
"""The calibration source that takes the prompts of the suite's retain tasks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One lm-eval task or group of a suite, the metric that counts, and what is scored without knowing.

    `chance` is the score of an answer drawn blindly, `floor` that of a model that never learnt what is asked and
    `because` whose word that is.

    `pairs` is where a forget task's clean and corrupted prompts for attribution come from: a JSON Lines
    file, the word `neutral` (its lettered questions under a stem that asks nothing) or `swapped` (each question
    against another item's, where right and wrong answers part), or None. `measure` and
    `retrained` are `records.Task`'s.
    """

    name: str
    role: Role
    metric: str
    chance: float
    pairs: Path | Literal["neutral", "swapped"] | None = None
    measure: str | None = None
    retrained: float | None = None
    floor: float | None = None
    because: str | None = None
    phrasing: Phrasing = Phrasing.TRAINED


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A named set of forget and retain tasks, and of probes: tasks whose items together make one number.

    `include` are the folders in which its own task definitions lie. `calibration` is a JSON Lines file
    of {"text"}, the word `retain` for the retain tasks' prompts, or None where the suite names no source;
    `calibration_samples` is how many of its texts GPTQ and AWQ take.
    `unlearn` is what a method may train on, or None where the suite does not say.
    """

    name: str
    title: str
    description: str
    forget: tuple[TaskSpec, ...]
    retain: tuple[TaskSpec, ...]
    include: tuple[Path, ...]
    calibration: Path | Literal["retain"] | None
    unlearn: CorporaSpec | None
    path: Path
    probe: tuple[TaskSpec, ...] = ()
    calibration_samples: int = CALIBRATION_SAMPLES

    @property
    def tasks(self) -> tuple[TaskSpec, ...]:
        """Forget tasks, then retain tasks, then probes, in the file's order."""
        return self.forget + self.retain + self.probe


def load_suite(name_or_path: str | Path, folders: Sequence[Path] = ()) -> Suite:
    """The suite of this name among the shipped ones and those in `folders`, or the one in this YAML file.

    `folders` hold NAME.yaml or suites/NAME.yaml. What a suite names lies beside its file, or, of a file in a folder
    `suites`, beside that folder. Raises SuiteError: all of a file's defects at once, with their lines; a name found
    twice, because nobody could say which was meant.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text:
        path = Path(name_or_path)
        if not path.is_file():
            raise SuiteError(f"there is no suite file {path}", fix="Give a suite's name or the path of its YAML file.")
        return _read(path)
    found = _files(folders, text)
    if not found:
        searched = [place for folder in (bundled("tasks"), *folders) for place in (folder, folder / "suites")]
        known = {path.stem for place in searched for path in place.glob("*.yaml")}
        raise SuiteError(f"there is no suite {text!r}", fix=_elsewhere(text, folders) or _named_alike(text, known))
    if len(found) > 1:
        places = ", ".join(map(str, found))
        raise SuiteError(f"suite {text!r} is defined more than once: {places}", fix="Rename one, or give its path.")
    return _read(found[0])


def list_suites(folders: Sequence[Path] = ()) -> tuple[Suite, ...]:
    """Every suite that can be named, by name. Raises SuiteError when one of them is broken."""
    return tuple(_read(path) for path in sorted(_files(folders), key=lambda path: path.stem))


def _named_alike(name: str, known: Iterable[str]) -> str:
    return f"{near(name, known)} `list suites` shows all.".strip()


def _elsewhere(name: str, folders: Sequence[Path]) -> str:
    """What to type where a suite of this name lies in the working directory, which nobody asked to be searched."""
    looked = {folder.resolve() for folder in folders}
    for folder in (Path("suites"), Path("tasks"), Path()):
        if (folder / f"{name}.yaml").is_file() and folder.resolve() not in looked:
            return f"There is {folder / f'{name}.yaml'}: add --tasks-dir {folder}."
    return ""


def _files(folders: Sequence[Path], name: str = "*") -> list[Path]:
    """The suite files of this name, or all: the shipped ones, and those of each folder and of `suites/` in it."""
    shipped = bundled("tasks") / "suites"
    found = {path.resolve(): path for path in sorted(shipped.glob("*.yaml")) if name in ("*", path.stem)}
    for folder in folders:
        if not folder.is_dir():
            raise SuiteError(f"there is no folder {folder} to look for suites in")
        for place in (folder, folder / "suites"):
            paths = [path for path in sorted(place.glob("*.yaml")) if name in ("*", path.stem)]
            found = {path.resolve(): path for path in paths if _is_suite(path)} | found
    return list(found.values())


def _is_suite(path: Path) -> bool:
    """Whether a file of a user's folder is meant as a suite: tasks and a policy may lie beside it."""
    keys = set(read_mapping(path))
    return "version" in keys and not keys.isdisjoint(("forget", "retain"))


def _read(path: Path) -> Suite:
    document = read_document(path)
    file = suite_file(document)
    place = Place.of(path)
    defects = [*_conflicts(path, document, file), *_missing(document, file, place)]
    if defects:
        raise SuiteError(f"{path} is not a valid suite", defects)
    return Suite(
        name=file.name,
        title=file.title,
        description=file.description,
        forget=_specs(file.forget, Role.FORGET, place),
        retain=_specs(file.retain, Role.RETAIN, place),
        include=tuple(_folder(place, folder).resolve() for folder in file.include),
        calibration=_calibration(file.calibration, place),
        unlearn=file.unlearn.spec(place.find) if file.unlearn is not None else None,
        path=path,
        probe=tuple(_probe(each) for each in file.probe),
        calibration_samples=file.calibration.samples if file.calibration is not None else CALIBRATION_SAMPLES,
    )


def _folder(place: Place, name: str) -> Path:
    """A folder beside the suite; where there is none, the shipped one of this name."""
    own = place.find(name)
    return own if own.is_dir() else bundled("tasks") / name


def _specs(tasks: Iterable[TaskModel], role: Role, place: Place) -> tuple[TaskSpec, ...]:
    return tuple(
        TaskSpec(
            name=each.task,
            role=role,
            metric=each.metric,
            chance=each.chance,
            pairs=_pairs(each.pairs, place),
            measure=each.measure,
            floor=each.floor,
            because=each.because,
            phrasing=Phrasing(each.phrasing),
        )
        for each in tasks
    )


def _probe(each: ProbeModel) -> TaskSpec:
    """A probe has no chance level: no drop is derived from it."""
    return TaskSpec(
        name=each.task,
        role=Role.PROBE,
        metric=each.metric,
        chance=0.0,
        measure=each.measure,
        retrained=each.retrained,
    )


def _pairs(source: str | None, place: Place) -> Path | Literal["neutral", "swapped"] | None:
    if source is None or source in (NEUTRAL, SWAPPED):
        return source  # type: ignore[return-value]  # one of the two words
    return place.find(source).resolve()


def _calibration(source: CalibrationModel | None, place: Place) -> Path | Literal["retain"] | None:
    if source is None:
        return None
    return source.tasks if source.file is None else place.find(source.file).resolve()


def _conflicts(path: Path, document: Document, file: SuiteFile) -> list[Defect]:
    """What is well formed but cannot be meant."""
    defects = []
    named = [
        (section, index, each)
        for section in ("forget", "retain", "probe")
        for index, each in enumerate(getattr(file, section))
    ]
    counts = Counter(each.task for _, _, each in named)
    seen: set[str] = set()
    for section, index, each in named:
        where = document.where((section, index, "task"))
        if counts[each.task] > 1 and each.task in seen:
            defects.append(Defect(where=where, found=f"task {each.task!r} a second time", expected="each task once"))
        if each.task in (WEIGHTS, SUITE):
            defects.append(
                Defect(where=where, found=f"task {each.task!r}", expected="another name: this one is reserved")
            )
        if getattr(each, "floor", None) is not None and each.floor < each.chance:
            found = f"floor {each.floor:g} below chance {each.chance:g}"
            defects.append(Defect(where=where, found=found, expected="what is scored without knowing: chance or more"))
        if section == "forget" and each.measure is not None:
            defects.append(Defect(where=where, found="model_utility of a forget task", expected="it of retain tasks"))
        held_out = getattr(each, "phrasing", "trained") != "trained"
        if held_out and section == "retain":
            defects.append(Defect(where=where, found="phrasing of a retain task", expected="it of forget tasks"))
        seen.add(each.task)
    if all(each.phrasing != "trained" for each in file.forget):
        where = document.where(("forget",))
        defects.append(
            Defect(where=where, found="held-out phrasings alone", expected="a task that asks as the forget set does")
        )
    if file.name != path.stem:
        where = document.where(("name",))
        defects.append(Defect(where=where, found=f"name {file.name!r}", expected=f"{path.stem!r}, the file's own"))
    if file.calibration is not None and (file.calibration.file is None) == (file.calibration.tasks is None):
        where = document.where(("calibration",))
        defects.append(Defect(where=where, found="both or neither of `file` and `tasks`", expected="one of them"))
    return defects


def _missing(document: Document, file: SuiteFile, place: Place) -> list[Defect]:
    """Folders and files that the suite names and that are not there, or that are in two places."""
    defects = []
    for index, folder in enumerate(file.include):
        where = document.where(("include", index))
        if not _folder(place, folder).is_dir():
            expected = f"a folder in {place}, or a shipped one (wmdp, mmlu, ifeval, muse, tofu)"
            defects.append(Defect(where=where, found=f"{folder!r}", expected=expected))
        defects += place.doubt(folder, where)
    for section in ("forget", "retain"):
        for index, each in enumerate(getattr(file, section)):
            where = document.where((section, index, "pairs"))
            if each.pairs is not None and section == "retain":
                defects.append(Defect(where=where, found="pairs of a retain task", expected="pairs of forget tasks"))
            elif each.pairs not in (None, NEUTRAL, SWAPPED):
                defects += _no_file(place, each.pairs, where, "`neutral`, `swapped` or a file")
    source = file.calibration.file if file.calibration is not None else None
    if source is not None:
        defects += _no_file(place, source, document.where(("calibration", "file")), "a file")
    return defects


def _no_file(place: Place, name: str, where: str, expected: str) -> list[Defect]:
    if not place.find(name).is_file():
        return [Defect(where=where, found=f"{name!r}", expected=f"{expected} in {place}")]
    return place.doubt(name, where)
