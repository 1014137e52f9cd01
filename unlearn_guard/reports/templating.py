"""What every page of ours is made with: escaping that cannot be forgotten, and a content policy of its own.

Every text of a run goes through `wording` and Jinja's escaping. Should both fail, the page's content policy
still lets no other script or style run than the two written into it, by their digests.
"""

import base64
import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from unlearn_guard.reports import wording

if TYPE_CHECKING:
    from jinja2 import Template


def template(name: str, filters: Mapping[str, Callable[..., Any]]) -> "Template":
    """One of our templates, with `short`, `plain` and `number` beside the filters of its own."""
    environment = Environment(
        loader=PackageLoader("unlearn_guard.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        # Whatever a template forgets: control characters never reach the page. Markup is ours, escaped already.
        finalize=lambda value: wording.plain(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"short": wording.short, "plain": wording.plain, "number": wording.number, **filters}
    return environment.get_template(name)


@cache
def asset(name: str) -> str:
    """A style or a script that is written into a page."""
    from importlib.resources import files

    return files("unlearn_guard.reports").joinpath("templates", name).read_text(encoding="utf-8")


def content_policy(style: str, script: str) -> str:
    """Nothing from anywhere, save these two."""
    return f"default-src 'none'; img-src data:; style-src {_allowed(style)}; script-src {_allowed(script)}"


def _allowed(text: str) -> str:
    """The content policy's name for one inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
