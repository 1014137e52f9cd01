"""Where a task's definition lies: in the suite's own folders, or in lm-eval's tree of some fourteen thousand files.

lm-eval would parse them all (18 s) and drop a broken one without a word. Here only the folders that
hold the wanted names are handed to it, and our own definitions are read first, so that a broken one
is named.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from unlearn_guard.errors import Defect, SuiteError, near
from unlearn_guard.resources import bundled
from unlearn_guard.scoring.yaml_file import line_of, read_mapping

STRUCTURE = frozenset({"include", "tag", "group", "group_alias", "task_list", "aggregate_metric_list", "class"})
"""Keys of a definition that lm-eval reads before it makes a task's configuration of the rest."""

_IGNORED = {"__pycache__", ".ipynb_checkpoints", "suites"}
_NAMES = re.compile(rb"""(?m)^["']?(?:task|group)["']?[ \t]*:[ \t]*["']?([\w.-]+)""")
_DEFINES = rb"""(?m)^["']?(?:task|group)["']?[ \t]*:[ \t]*["']?%s["']?[ \t]*(?:#.*)?\r?$"""
_NAME = rb"[A-Za-z0-9_.\-+]+"


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The folders lm-eval has to index, and the file of each wanted name."""

    folders: tuple[Path, ...]
    files: dict[str, Path]


def locate(names: Sequence[str], include: Sequence[Path], *, defaults: bool, keys: Collection[str]) -> Located:
    """Find each named task or group, in `include` first, then (with `defaults`) in lm-eval's own tree.

    `keys` are the keys of a task configuration. Raises SuiteError: every broken file of `include`, a name
    defined twice there, or names that nobody defines, with the nearest known ones.
    """
    own = _own(include, frozenset(keys) | STRUCTURE)
    files = {name: own[name] for name in names if name in own}
    missing = [name for name in names if name not in files]
    folders: list[Path] = []
    if missing and defaults:
        tree = shipped_tree()
        for name in missing:
            path = _find(name, tree)
            if path is not None:
                files[name] = path
                # A group's members may lie anywhere below the family's folder.
                folders.append(_family(path, tree) if _is_group(path) else path.parent)
    unknown = [name for name in names if name not in files]
    if unknown:
        known = set(own) | (_similar(unknown, shipped_tree()) if defaults else set())
        places = ", ".join(map(str, include)) or "no folder of the suite's own"
        where = f"{places}{' and lm-eval' if defaults else ''}"
        raise SuiteError(
            f"no task of this name in {where}",
            [
                Defect(where="suite", found=repr(name), expected="a task or group", fix=near(name, known))
                for name in unknown
            ],
        )
    # The later folder wins in lm-eval: ours go last.
    ordered = [*dict.fromkeys(folders), *include]
    return Located(folders=tuple(ordered), files=files)


def shipped_tree() -> Path:
    """The folder `lm_eval/tasks`, found without importing lm-eval."""
    spec = find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise SuiteError("lm-eval is not installed", fix="pip install 'lm-eval>=0.4.11'")
    return Path(next(iter(spec.submodule_search_locations))) / "tasks"


def defined(folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """Every task and group that our own files and those in `folders` define, whether or not a suite names it."""
    files = (path for folder in (bundled("tasks"), *folders) for path in _yaml_files(folder))
    found = (_NAMES.search(path.read_bytes()) for path in files if "suites" not in path.parent.name)
    return tuple(sorted({match.group(1).decode() for match in found if match is not None}))


def _own(include: Sequence[Path], keys: frozenset[str]) -> dict[str, Path]:
    """Every task and group that the suite's folders define, after each of their files was read."""
    found: dict[str, Path] = {}
    defects: list[Defect] = []
    for path in (path for folder in include for path in _yaml_files(folder)):
        try:
            content = read_mapping(path)
        except SuiteError as error:
            defects.extend(
                error.defects or [Defect(where=str(path), found=error.summary, expected="a task definition")]
            )
            continue
        name = content.get("group", content.get("task"))
        if not isinstance(name, str):
            # A file that begins with an underscore is a template for others to include.
            if not path.name.startswith("_"):
                defects.append(Defect(where=str(path), found="neither `task` nor `group`", expected="one, a name"))
            continue
        defects.extend(_unknown_keys(path, content, keys))
        defects.extend(_broken_includes(path, content))
        if name in found and found[name].resolve() != path.resolve():
            defects.append(Defect(where=str(path), found=f"task {name!r} again", expected=f"it only in {found[name]}"))
        found[name] = path
    if defects:
        raise SuiteError("task definitions that cannot be used", defects)
    return found


def _unknown_keys(path: Path, content: Mapping[str, Any], keys: frozenset[str]) -> list[Defect]:
    # A group passes unknown keys on to its members, so only a task's can be judged here.
    if "group" in content or "class" in content:
        return []
    return [
        Defect(
            where=f"{path}:{line_of(content, (key,))}",
            found=f"unknown key {key!r}",
            expected="a key of an lm-eval task",
            fix=near(str(key), keys),
        )
        for key in content
        if key not in keys
    ]


def _broken_includes(path: Path, content: Mapping[str, Any]) -> list[Defect]:
    included = content.get("include", [])
    included = included if isinstance(included, list) else [included]
    return [
        Defect(where=f"{path}:{line_of(content, ('include',))}", found=f"include {each!r}", expected="a file beside it")
        for each in included
        if not (path.parent / str(each)).is_file()
    ]


def _yaml_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*.yaml")):
        if not _IGNORED.intersection(path.relative_to(folder).parts):
            yield path


def _find(name: str, tree: Path) -> Path | None:
    """The file that defines this name: first where the name suggests (`wmdp_bio` in `wmdp/`), then anywhere."""
    pattern = re.compile(_DEFINES % re.escape(name.encode()))
    parts = name.split("_")
    likely = [tree / "_".join(parts[:count]) for count in range(len(parts), 0, -1)]
    for folder in (*(each for each in likely if each.is_dir()), tree):
        matches = [path for path in _yaml_files(folder) if pattern.search(path.read_bytes())]
        if matches:
            # lm-eval takes the first of several in alphabetical order; so does this.
            return matches[0]
    return None


def _is_group(path: Path) -> bool:
    return re.search(rb"""(?m)^["']?group["']?[ \t]*:""", path.read_bytes()) is not None


def _family(path: Path, tree: Path) -> Path:
    return tree / path.relative_to(tree).parts[0]


def _similar(names: Sequence[str], tree: Path) -> set[str]:
    """Names in lm-eval's tree that begin like one of these; only ever used for a hint."""
    heads = tuple(name.split("_")[0][:3].encode() for name in names)
    pattern = re.compile(_DEFINES % (b"(" + _NAME + b")"))
    found = set()
    for path in _yaml_files(tree):
        match = pattern.search(path.read_bytes())
        if match is not None and match.group(1).startswith(heads):
            found.add(match.group(1).decode())
    return found
