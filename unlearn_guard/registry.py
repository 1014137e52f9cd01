"""Names to plug-ins. Listing imports nothing; only what is asked for is loaded, and a broken one is named.

Ours are entry points like everybody else's, written down here so that a bare checkout has them too.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from unlearn_guard.errors import PluginError, near
from unlearn_guard.records import FULL

if TYPE_CHECKING:
    from unlearn_guard.quantizers.protocol import Quantizer

QUANTIZERS = "unlearn_guard.quantizers"

_SHIPPED = {
    FULL: "unlearn_guard.quantizers.full:Full",
    "nf4": "unlearn_guard.quantizers.nf4:NF4",
    "gptq": "unlearn_guard.quantizers.gptq:GPTQ",
    "awq": "unlearn_guard.quantizers.awq:AWQ",
}


def precisions() -> Mapping[str, EntryPoint]:
    """Every precision by name: `full`, ours, then third parties' in alphabetical order.

    Raises PluginError where two distributions claim one name: neither may stand in for the other.
    """
    found = {name: EntryPoint(name, target, QUANTIZERS) for name, target in _SHIPPED.items()}
    for entry in sorted(entry_points(group=QUANTIZERS), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise PluginError(
                f"precision {entry.name} is claimed by {other.value} and by {_origin(entry)}",
                fix="Uninstall one of them: a name must mean one quantizer.",
            )
    return found


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
