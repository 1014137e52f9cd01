"""Names to plug-ins. Listing imports nothing; only what is asked for is loaded, and a broken one is named.

Ours are entry points like everybody else's, written down here so that a bare checkout has them too.
"""

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unlearn_guard.errors import PluginError, near
from unlearn_guard.records import FULL
from unlearn_guard.resources import bundled

if TYPE_CHECKING:
    from unlearn_guard.quantizers.protocol import Quantizer

QUANTIZERS = "unlearn_guard.quantizers"
METHODS = "unlearn_guard.methods"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A precision of ours: where its class is, how many bits a weight takes, whose rule it is, what has to be there."""

    target: str
    bits: int
    library: str
    needs: str = ""

    @property
    def about(self) -> str:
        """Bits, library and needs, as `list precisions` says them."""
        needs = f"; needs unlearn-guard[{self.needs}]" if self.needs else ""
        return f"{self.bits:>2} bits, {self.library}{needs}"


def _ours(place: str, bits: int, library: str, needs: str = "") -> Shipped:
    return Shipped(target=f"unlearn_guard.quantizers.{place}", bits=bits, library=library, needs=needs)


_RUN = "rounded and run by llama.cpp (xllamacpp)"
_LIKE = "rounded here as compressed-tensors does, weight only"

_SHIPPED = {
    FULL: _ours("full:Full", 16, "the checkpoint as it is"),
    "nf4": _ours("nf4:NF4", 4, "bitsandbytes"),
    "gptq": _ours("gptq:GPTQ", 4, "gptqmodel, calibrated", "gptq"),
    "awq": _ours("awq:AWQ", 4, "gptqmodel, calibrated", "gptq"),
    "fp4": _ours("fp4:FP4", 4, "bitsandbytes"),
    "nf4+adapter": _ours("nf4_adapter:NF4Adapter", 4, "bitsandbytes, base alone; a LoRA adapter unmerged on top"),
    "nf4-dq": _ours("nf4_dq:NF4DQ", 4, "bitsandbytes, double quantization"),
    "int8": _ours("int8:Int8", 8, "bitsandbytes, activations too"),
    "rtn4": _ours("rtn4:RTN4", 4, f"{_LIKE}; groups of 128, or 64 or 32"),
    "rtn4-64": _ours("rtn4:RTN4Group64", 4, f"{_LIKE}; groups of 64"),
    "rtn4-32": _ours("rtn4:RTN4Group32", 4, f"{_LIKE}; groups of 32"),
    "fp8": _ours("fp8:FP8", 8, f"{_LIKE}; e4m3, a scale a channel"),
    "fp8-tensor": _ours("fp8:FP8Tensor", 8, f"{_LIKE}; e4m3, a scale a tensor"),
    "mxfp4": _ours("mxfp4:MXFP4", 4, _LIKE),
    "nvfp4": _ours("nvfp4:NVFP4", 4, _LIKE),
    "gguf-q4_0": _ours("gguf_formats:Q4_0", 4, _RUN, "gguf"),
    "gguf-q4_1": _ours("gguf_formats:Q4_1", 4, _RUN, "gguf"),
    "gguf-q8_0": _ours("gguf_formats:Q8_0", 8, _RUN, "gguf"),
    "gguf-q4_k_m": _ours("gguf_formats:Q4_K_M", 4, f"{_RUN}; some layers in 6 bits", "gguf"),
}


def about_precision(name: str, entry: EntryPoint) -> str:
    """One line on a precision: of ours bits, library and needs, of a third party's where it comes from."""
    shipped = _SHIPPED.get(name)
    return shipped.about if shipped is not None and shipped.target == entry.value else entry.value


def precisions() -> Mapping[str, EntryPoint]:
    """Every precision by name: `full`, ours, then third parties' in alphabetical order.

    Raises PluginError where two distributions claim one name: neither may stand in for the other.
    """
    found = {name: EntryPoint(name, shipped.target, QUANTIZERS) for name, shipped in _SHIPPED.items()}
    for entry in sorted(_plugged(QUANTIZERS), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f"precision {entry.name} is claimed by {other.value} and by {_origin(entry)}",
                fix="Uninstall one of them: a name must mean one quantizer.",
            )
    return found


def _plugged(group: str) -> tuple[EntryPoint, ...]:
    """What is installed in this group."""
    return _scanned(entry_points, tuple(map(str, sys.path)), group)


@cache
def _scanned(
    scan: Callable[..., Iterable[EntryPoint]],
    places: tuple[str, ...],  # noqa: ARG001 - what is found depends on it
    group: str,
) -> tuple[EntryPoint, ...]:
    """Each distribution's files are read once for the same `places`."""
    return tuple(scan(group=group))


def about(entry: EntryPoint) -> str:
    """The first line of what our own quantizer's file says of itself, which is not run; of a third party's, whose."""
    module = entry.module.rpartition(".")[2]
    path = Path(__file__).parent / "quantizers" / f"{module}.py"
    if entry.module != f"{__package__}.quantizers.{module}" or not path.is_file():
        return f"by {_origin(entry)}"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0].rstrip(".")


def quantizer(name: str) -> "Quantizer":
    """The quantizer of this precision, loaded now. Raises PluginError with near names, or naming a broken plug-in."""
    known = precisions()
    if name not in known:
        raise PluginError(f"there is no precision called {name!r}", fix=near(name, known))
    try:
        made: Quantizer = known[name].load()()
    except (ImportError, AttributeError, TypeError) as error:
        raise PluginError(f"the quantizer {name} of {_origin(known[name])} does not load: {error}") from error
    return made


def _origin(entry: EntryPoint) -> str:
    return f"{entry.dist.name} ({entry.value})" if entry.dist else entry.value


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFile:
    """A method that can be had: its name, and the file or the entry point that it comes from."""

    name: str
    origin: Path | EntryPoint

    def __str__(self) -> str:
        return str(self.origin) if isinstance(self.origin, Path) else _origin(self.origin)

    @property
    def about(self) -> str:
        """The first line of its file's docstring, read without running the file; an entry point's target."""
        if isinstance(self.origin, EntryPoint):
            return self.origin.value
        try:
            text = ast.get_docstring(ast.parse(self.origin.read_text(encoding="utf-8"))) or ""
        except (OSError, SyntaxError, ValueError) as error:
            raise PluginError(f"the method file {self.origin} cannot be read: {error}") from error
        return text.partition("\n")[0]


def methods(folders: Sequence[Path] = ()) -> Mapping[str, MethodFile]:
    """Every method by name: the shipped files, those in `folders`, then third parties' entry points.

    Raises PluginError for a folder that is not there, and where two places claim one name.
    """
    found: dict[str, MethodFile] = {}
    for folder in (bundled("methods"), *folders):
        if not folder.is_dir():
            raise PluginError(f"there is no folder {folder} to look for methods in")
        for path in sorted(folder.glob("[!_]*.py")):
            _claim(found, MethodFile(name=path.stem, origin=path))
    for entry in sorted(_plugged(METHODS), key=lambda entry: entry.name):
        _claim(found, MethodFile(name=entry.name, origin=entry))
    return found


def _claim(found: dict[str, MethodFile], new: MethodFile) -> None:
    other = found.setdefault(new.name, new)
    if other.origin != new.origin:
        raise PluginError(
            f"method {new.name} is claimed by {other} and by {new}", fix="Rename one: a name must mean one method."
        )


def method(name: str, folders: Sequence[Path] = ()) -> Any:
    """The class of this method's hyperparameters, loaded now.

    Raises PluginError with near names, or naming the file or distribution that is broken.
    """
    known = methods(folders)
    if name not in known:
        raise PluginError(f"there is no method called {name!r}", fix=near(name, known))
    made = _load(known[name])
    if not (isinstance(made, type) and is_dataclass(made) and callable(getattr(made, "unlearn", None))):
        raise PluginError(
            f"the method {name} of {known[name]} is no dataclass with a function `unlearn`",
            fix="End its file with METHOD = <class>; unlearn_guard.unlearning.protocol says what it needs.",
        )
    return made


def _load(found: MethodFile) -> Any:
    """What a method's file calls METHOD, or its entry point leads to."""
    try:
        if isinstance(found.origin, EntryPoint):
            return found.origin.load()
        name = f"unlearn_guard.methods.{found.name}"
        spec = importlib.util.spec_from_file_location(name, found.origin)
        if spec is None or spec.loader is None:
            raise ImportError(f"{found.origin} is no Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up there
        spec.loader.exec_module(module)
        return module.METHOD
    except Exception as error:  # whatever a plug-in raises while it loads, its user has to know whose it is
        raise PluginError(
            f"the method {found.name} of {found} does not load: {type(error).__name__}: {error}"
        ) from error
