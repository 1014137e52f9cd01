"""lm-eval's task objects for the names of a suite, or an error that says which file or dataset is at fault."""

import contextlib
import io
import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from jinja2 import TemplateError
from lm_eval.config.task import TaskConfig
from lm_eval.tasks import TaskManager

from unlearn_guard.errors import Defect, SuiteError
from unlearn_guard.scoring.catalogue import Located, locate
from unlearn_guard.scoring.hub import hub_or_cache
from unlearn_guard.scoring.task_code import code_of
from unlearn_guard.scoring.vendored import Vendored

BROKEN_TASK = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    TemplateError,
    yaml.YAMLError,
)
"""What a task's own code, template or configuration may raise through lm-eval."""

_ABSENT = (OSError, DatasetNotFoundError, DatasetGenerationError)
_REVISION = re.compile(r"[0-9a-f]{40}")
_FILE_FORMATS = {"json", "csv", "parquet", "arrow", "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A suite task's lm-eval objects: one, or the leaves of a group in its order; and the Python that they may run."""

    name: str
    path: Path
    leaves: tuple[Any, ...]
    code: tuple[tuple[str, str], ...]


def load_tasks(
    names: Sequence[str], include: Sequence[Path], *, defaults: bool, data: Vendored | None, seed: int
) -> tuple[Loaded, ...]:
    """The lm-eval tasks of these names, each with its dataset.

    With `data`, every dataset `owner/name` is read from there and never from the hub; without, from the
    hub or its local cache, at the one revision the task names. Raises SuiteError.
    """
    located = locate(names, include, defaults=defaults, keys={field.name for field in fields(TaskConfig)})
    with quiet(seed), contextlib.nullcontext() if data is not None else hub_or_cache():
        manager = TaskManager(include_path=list(located.folders), include_defaults=False)
        return tuple(_load(manager, name, located, data) for name in names)


@contextlib.contextmanager
def quiet(seed: int) -> Iterator[None]:
    """Python's and numpy's generators seeded, lm-eval's progress bars and remarks hidden; all as before afterwards."""
    states = random.getstate(), np.random.get_state()
    logger = logging.getLogger("lm_eval")
    level = logger.level
    random.seed(seed)
    np.random.seed(seed % 2**32)
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        random.setstate(states[0])
        np.random.set_state(states[1])


def _load(manager: TaskManager, name: str, located: Located, data: Vendored | None) -> Loaded:
    path = located.files[name]
    if name not in manager.task_index:
        # lm-eval dropped the file; loading it by its path makes it say why.
        _try(path, lambda: manager.load([str(path)]))
        raise SuiteError(f"lm-eval does not find {name!r} in {path}")
    leaves: list[Any] = []
    names = _leaf_names(manager, name)
    for leaf in names:
        _refuse_stand_in_metrics(manager.task_index[leaf].cfg or {}, path)
        change = _dataset_change(manager, leaf, data)
        # A group of one, because only a group's members take overrides.
        spec: Any = {"group": f"{leaf}::one", "task": [{"task": leaf, **change}]} if change else leaf
        loaded = _try(path, lambda spec=spec: manager.load([spec]), manager.task_index[leaf].cfg or {})
        leaves.extend(loaded["tasks"].values())
    for leaf in leaves:
        _refuse_unsafe(leaf, path)
    definitions = [manager.task_index[each].yaml_path or path for each in names]
    return Loaded(name=name, path=path, leaves=tuple(leaves), code=_try(path, lambda: code_of(definitions)))


def _leaf_names(manager: TaskManager, name: str) -> list[str]:
    """The tasks that a name stands for: itself, or a group's members and tags, resolved in order."""
    entry = manager.task_index[name]
    kind = entry.kind.name
    if kind == "TAG":
        return sorted(entry.tags)
    if kind != "GROUP":
        return [name]
    _check_weighting(name, entry)
    leaves: list[str] = []
    for member in (entry.cfg or {}).get("task", []):
        if not isinstance(member, str) or member not in manager.task_index:
            raise SuiteError(
                f"group {name!r} in {entry.yaml_path} has a member that is not the name of a task: {member!r}",
                fix="Name the group's tasks in the suite instead.",
            )
        leaves.extend(_leaf_names(manager, member))
    if not leaves or len(set(leaves)) != len(leaves):
        raise SuiteError(f"group {name!r} in {entry.yaml_path} has no tasks, or one twice")
    return leaves


def _check_weighting(name: str, entry: Any) -> None:
    metrics = (entry.cfg or {}).get("aggregate_metric_list") or []
    metrics = metrics if isinstance(metrics, list) else [metrics]
    if any(metric.get("weight_by_size") is False for metric in metrics):
        raise SuiteError(
            f"group {name!r} in {entry.yaml_path} averages over tasks, not over items",
            fix="The guard pairs items: name the group's tasks in the suite instead.",
        )


def leaf_configs(names: Sequence[str], include: Sequence[Path], *, defaults: bool) -> list[Mapping[str, Any]]:
    """The definitions behind these names, read and merged, with no data touched. Raises SuiteError as `locate` does."""
    located = locate(names, include, defaults=defaults, keys={field.name for field in fields(TaskConfig)})
    with quiet(0):
        manager = TaskManager(include_path=list(located.folders), include_defaults=False)
    absent = [name for name in names if name not in manager.task_index]
    if absent:
        raise SuiteError(f"lm-eval does not find {absent[0]!r} in {located.files[absent[0]]}")
    return [manager.task_index[leaf].cfg or {} for name in names for leaf in _leaf_names(manager, name)]


def from_hub(task: Any) -> bool:
    """Whether a loaded task's items come from a dataset of the hub, vendored or not."""
    return hub_dataset({"dataset_path": task.config.dataset_path}) is not None


def hub_dataset(config: Mapping[str, Any]) -> str | None:
    """The `owner/name` of a task's dataset on the hub; None where it is a file format, or a folder (`/...`, `./...`).

    What lies in the working directory never decides: a folder `owner/name` there is not the dataset.
    """
    dataset = config.get("dataset_path")
    if config.get("custom_dataset") is not None or not isinstance(dataset, str) or dataset in _FILE_FORMATS:
        return None
    return None if dataset.startswith((".", "/")) else dataset


def revision_of(config: Mapping[str, Any]) -> str | None:
    """The commit that a task pins its hub dataset to, or None.

    Raises SuiteError for a revision that is no commit, and for options of the dataset that `data pull` does not keep.
    """
    options: Mapping[str, Any] = config.get("dataset_kwargs") or {}
    dataset, revision = config.get("dataset_path"), options.get("revision")
    if more := sorted(set(options) - {"revision", "trust_remote_code"}):
        raise SuiteError(
            f"task {config.get('task')!r}: dataset_kwargs of {dataset} say {', '.join(more)}, which vendored data does "
            "not keep",
            fix="Run it without --data-dir, or let a task of your own read the files.",
        )
    if revision is not None and not _REVISION.fullmatch(str(revision)):
        raise SuiteError(
            f"task {config.get('task')!r}: revision {revision!r} of {dataset} is not a commit",
            fix="Name the commit, 40 hexadecimal digits; or no revision: `data pull` then records the newest.",
        )
    return revision


def splits(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits of its dataset that a task reads."""
    wanted = [config.get(key) for key in ("test_split", "validation_split", "training_split", "fewshot_split")]
    return tuple(dict.fromkeys(each for each in wanted if isinstance(each, str)))


def _dataset_change(manager: TaskManager, leaf: str, data: Vendored | None) -> dict[str, Any]:
    """What of a task's dataset is found elsewhere than its definition says."""
    entry = manager.task_index[leaf]
    config = entry.cfg or {}
    dataset = hub_dataset(config)
    options = config.get("dataset_kwargs") or {}
    if dataset is not None and data is not None:
        loaded = data.load(dataset, config.get("dataset_name"), splits(config), revision=revision_of(config))
        return {"custom_dataset": lambda **_: loaded, "dataset_kwargs": None}
    if dataset is not None and Path(dataset).exists():
        raise SuiteError(
            f"{Path(dataset).absolute()} would be read in place of the dataset {dataset} of {entry.yaml_path}",
            fix=f"Run this from another directory; or, if that folder is meant, write `dataset_path: ./{dataset}`.",
        )
    if dataset is not None and not _REVISION.fullmatch(str(options.get("revision", ""))):
        raise SuiteError(
            f"{entry.yaml_path}: the dataset {dataset} is not pinned to a revision, so nobody could say what was asked",
            fix="Add `dataset_kwargs: {revision: COMMIT}` to the task; or run `unlearn-guard data pull SUITE "
            "--data-dir DIR`, which records the commit, and then with `--data-dir DIR`.",
        )
    dataset = config.get("dataset_path")
    if dataset in _FILE_FORMATS and "data_files" in options and entry.yaml_path is not None:
        # As a reader of the YAML would: relative to it, not to the working directory.
        files = _beside(options["data_files"], entry.yaml_path.parent)
        return {"dataset_kwargs": {**options, "data_files": files}}
    return {}


def _refuse_stand_in_metrics(config: Mapping[str, Any], path: Path) -> None:
    """`evaluate` runs NAME/NAME.py of the working directory for a metric that lm-eval itself does not have."""
    import lm_eval.api.metrics  # noqa: F401 - fills the registry
    from lm_eval.api.registry import metric_registry

    metrics = config.get("metric_list") or []
    for metric in metrics if isinstance(metrics, list) else []:
        name = metric.get("metric") if isinstance(metric, Mapping) else None
        if not isinstance(name, str) or name.startswith((".", "/")):
            continue
        script = Path(name) if name.endswith(".py") else Path(name) / f"{Path(name).name}.py"
        if script.exists() and (name not in metric_registry or metric.get("hf_evaluate") is True):
            raise SuiteError(
                f"{script.absolute()} would be run in place of the metric {name} of {path}",
                fix=f"Run this from another directory; or, if that file is meant, write `metric: ./{name}`.",
            )


def _beside(files: Any, folder: Path) -> Any:
    if isinstance(files, dict):
        return {split: _beside(each, folder) for split, each in files.items()}
    if isinstance(files, list):
        return [_beside(each, folder) for each in files]
    return str(folder / str(files)) if "://" not in str(files) else files


def _try(path: Path, load: Any, config: dict[str, Any] | None = None) -> Any:
    try:
        return load()
    except _ABSENT as error:
        dataset = (config or {}).get("dataset_path")
        if dataset is None or dataset in _FILE_FORMATS:
            raise SuiteError(f"the data of {path} cannot be read: {_first_line(error)}") from error
        raise SuiteError(
            f"the dataset {dataset} of {path} is not on this machine and cannot be fetched: {_first_line(error)}",
            fix="Where there is a network: `unlearn-guard data pull SUITE --data-dir DIR`; then copy DIR here and run "
            "again with `--data-dir DIR`.",
        ) from error
    except (*BROKEN_TASK, RuntimeError) as error:
        found = f"{type(error).__name__}: {_first_line(error)}"
        where = Defect(where=str(path), found=found, expected="a task that lm-eval can load")
        raise SuiteError(f"the task definition {path} cannot be used", [where]) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _refuse_unsafe(leaf: Any, path: Path) -> None:
    if getattr(leaf, "UNSAFE_CODE", False):
        raise SuiteError(f"{path} runs code that a model wrote (unsafe_code); the guard does not")
    if getattr(leaf, "MULTIMODAL", False):
        raise SuiteError(f"{path} asks about images or sound; the guard scores text")
