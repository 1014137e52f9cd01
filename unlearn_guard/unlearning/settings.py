"""Hyperparameters as a user gives them, KEY=VALUE, made into a method: by its own fields and their types."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from unlearn_guard.errors import Defect, UsageError, near


def configure(method: type[Any], name: str, *given: Mapping[str, Any]) -> Any:
    """The method with these hyperparameters, of which later mappings win over earlier ones.

    Text becomes what the field is declared as: `1e-3` a number, `false` a truth value, `none` nothing, where a field
    may be empty. Raises UsageError with every unknown name, near ones beside it, and every value of another type.
    """
    values = {key: value for mapping in given for key, value in mapping.items()}
    known = [field.name for field in fields(method)]
    defects = [
        Defect(where=f"{name}: {key}", found="no such hyperparameter", expected="one it has", fix=near(key, known))
        for key in values
        if key not in known
    ]
    if defects:
        raise UsageError(f"method {name} has other hyperparameters", defects, fix=f"It has {', '.join(known)}.")
    optional = {key for key, hint in get_type_hints(method).items() if type(None) in get_args(hint)}
    read = {key: None if value == "none" and key in optional else value for key, value in values.items()}
    try:
        return TypeAdapter(method).validate_python(read)
    except ValidationError as error:
        defects = [
            Defect(
                where=f"{name}: {'.'.join(str(part) for part in each['loc'])}",
                found=repr(each["input"])[:80],
                expected=each["msg"].lower(),
            )
            for each in error.errors()
        ]
        raise UsageError(f"method {name} cannot have these hyperparameters", defects) from error


def hyperparameters(method: Any) -> dict[str, Any]:
    """Every field of a configured method, for the manifest."""
    return asdict(method)
