"""What a function is known by: its source and everything that it carries with it.

A task counts answers by functions that its YAML names: plain ones, lambdas, partials, bound methods, objects with
`__call__`, what a decorator or a factory made. Each is taken apart until there are only names, plain values and files.
"""

import copyreg
import functools
import importlib.metadata
import inspect
import platform
import sys
import types
from collections.abc import Mapping, Set
from hashlib import sha256
from pathlib import Path
from typing import Any

_DEEPEST = 40


def plain(value: Any) -> Any:
    """A value for hashing, that changes when what the value does changes.

    Raises ValueError for an object that cannot be taken apart: an open file, a lock, a generator.
    """
    return _plain(value, ())


def _plain(value: Any, within: tuple[int, ...]) -> Any:
    if value is None or isinstance(value, str | int | float | bool):
        return value if type(value) in (type(None), str, int, float, bool) else [_class(type(value)), str(value)]
    if isinstance(value, bytes | bytearray | complex | range | slice):
        return [type(value).__name__, repr(value)]
    if id(value) in within:
        return ["within itself", within[::-1].index(id(value))]
    if len(within) > _DEEPEST:
        raise ValueError(f"{type(value).__name__}: nested too deep to be told from another")
    inner = (*within, id(value))
    if type(value) is dict or (isinstance(value, Mapping) and not callable(value)):
        return {str(key): _plain(each, inner) for key, each in value.items()}
    if type(value) in (list, tuple):
        return [_plain(each, inner) for each in value]
    if isinstance(value, Set):
        return ["set", sorted((_plain(each, inner) for each in value), key=repr)]
    return _carried(value, inner)


def _carried(value: Any, inner: tuple[int, ...]) -> Any:
    """A function, class, module or object, with what it carries."""
    if isinstance(value, types.ModuleType):
        return ["module", value.__name__, _source(value)]
    if isinstance(value, type):
        return _class(value)
    if isinstance(value, functools.partial):
        return ["partial", *(_plain(each, inner) for each in (value.func, value.args, value.keywords))]
    if isinstance(value, types.MethodType):
        return ["method", _plain(value.__func__, inner), _plain(value.__self__, inner)]
    if isinstance(value, types.FunctionType):
        return _function(value, inner)
    if isinstance(value, types.BuiltinFunctionType | types.BuiltinMethodType):
        owner = value.__self__
        bound = None if owner is None or isinstance(owner, types.ModuleType) else _plain(owner, inner)
        return ["builtin", value.__module__, value.__qualname__, bound, _release(value.__module__ or "builtins")]
    if isinstance(value, types.CodeType):
        return _code(value, inner)
    if hasattr(value, "__wrapped__"):  # such as functools.cache gives, which can be copied by name only
        return ["wrapped", _class(type(value)), _plain(value.__wrapped__, inner)]
    return _object(value, inner)


def _function(value: types.FunctionType, inner: tuple[int, ...]) -> Any:
    source = _source(value)
    # The lines of a lambda, or of what a factory made, are those of others too; of `exec` there are none.
    own = value.__code__ if source is None or "<" in value.__qualname__ else None
    cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
    carried = (own, value.__defaults__, value.__kwdefaults__, cells, vars(value))
    return ["function", value.__qualname__, source, *(_plain(each, inner) for each in carried)]


def _code(value: types.CodeType, inner: tuple[int, ...]) -> Any:
    names = [value.co_names, value.co_varnames, value.co_freevars]
    return ["code", value.co_code.hex(), names, [_plain(each, inner) for each in value.co_consts]]


def _class(value: type) -> Any:
    """A class is its text and that of its bases, or the release that it came with."""
    return ["class", *([each.__module__, each.__qualname__, _source(each)] for each in value.__mro__)]


def _object(value: Any, inner: tuple[int, ...]) -> Any:
    """As it would be copied: its class, and the state that a copy is given."""
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        parts = reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception as error:
        raise ValueError(
            f"a {type(value).__module__}.{type(value).__qualname__} that a task counts answers by cannot be told from "
            f"another ({error}): make it inside the function that uses it"
        ) from error
    if isinstance(parts, str):
        return ["global", type(value).__module__, parts, _source(type(value))]
    made, arguments, state, items, pairs = (*parts, None, None, None)[:5]
    rest = [_plain(each, inner) for each in (made, arguments, state, list(items or ()), list(pairs or ()))]
    return ["object", _class(type(value)), *rest]


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - reading an empty cell raises
    except ValueError:
        return False
    return True


def _source(value: Any) -> str | None:
    """The digest of the file that defines it, as it may call its neighbours; the release of what has none."""
    try:
        found = inspect.getsourcefile(value) or inspect.getfile(value)
        return sha256(Path(found).read_bytes()).hexdigest()
    except (OSError, TypeError):
        name = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
        return None if isinstance(value, types.FunctionType) else _release(name or "builtins")


def _release(module: str) -> str:
    """The version of the distribution that a compiled module belongs to: Python's own, where it is Python's."""
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names or top == "builtins":
        return f"Python {platform.python_version()}"
    named = importlib.metadata.packages_distributions().get(top, [])
    return " ".join(f"{each} {importlib.metadata.version(each)}" for each in sorted(set(named))) or module
