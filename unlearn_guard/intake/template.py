"""The chat template: a program in Jinja that a checkpoint brings along. It is parsed here, never run.

transformers renders it in a sandbox that blocks dunder attributes and ranges over 100 000; two such
ranges, one inside the other, still never end.
"""

from collections.abc import Mapping
from typing import Any

from unlearn_guard.errors import Defect
from unlearn_guard.intake.defects import shown

LONGEST = 262_144
"""Characters; published templates stay under 20 000."""
LONGEST_RANGE = 1_000
_EXPECTED = "a template that formats messages"


def inner_templates(settings: Mapping[str, Any]) -> dict[str, str]:
    """The templates inside tokenizer_config.json by the key that holds them: one text, or a list of named ones."""
    value = settings.get("chat_template")
    where = "tokenizer_config.json: chat_template"
    if isinstance(value, str):
        return {where: value}
    if isinstance(value, Mapping):
        value = [{"name": name, "template": text} for name, text in value.items()]
    named = [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []
    return {f"{where}: {each.get('name')}": str(each.get("template")) for each in named}


def chosen_template(files: Mapping[str, str], settings: Mapping[str, Any]) -> str | None:
    """The template that transformers would use by default, of the files by name and of tokenizer_config.json."""
    for name in ("additional_chat_templates/default.jinja", "chat_template.jinja"):
        if name in files:
            return files[name]
    inner = inner_templates(settings)
    where = "tokenizer_config.json: chat_template"
    return inner.get(where, inner.get(f"{where}: default"))


def check_template(template: str, where: str) -> list[Defect]:
    """What in a template could walk attributes, load files or run without end; or why it does not parse."""
    if len(template) > LONGEST:
        return [Defect(where=where, found=f"{len(template)} characters", expected=f"at most {LONGEST}")]
    import jinja2  # 50 ms, and half of the checkpoints have no template
    from jinja2 import nodes

    environment = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.loopcontrols"])  # noqa: S701 - parses
    environment.extensions.update(_generation(environment))
    try:
        tree = environment.parse(template)
        found = [*_escapes(tree, nodes), *_loops(tree, nodes)]
    except jinja2.TemplateSyntaxError as error:
        found = [f"a syntax error in line {error.lineno}: {shown(str(error.message))}"]
    except RecursionError:
        found = ["expressions nested too deep to parse"]
    return [Defect(where=where, found=each, expected=_EXPECTED, fix="Mend or delete the template.") for each in found]


def _generation(environment: Any) -> dict[str, Any]:
    """The `{% generation %}` block of transformers, which marks the assistant's tokens and renders its body."""
    from jinja2 import nodes
    from jinja2.ext import Extension

    class Generation(Extension):
        tags = {"generation"}  # noqa: RUF012 - jinja2's own declaration

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body).set_lineno(line)

    return {Generation.identifier: Generation(environment)}


def _escapes(tree: Any, nodes: Any) -> list[str]:
    found = []
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Include, nodes.Import)):
        name = getattr(node, "attr", None) or getattr(node, "name", None)
        if isinstance(node, nodes.Getitem):
            name = node.arg.value if isinstance(node.arg, nodes.Const) else None
        if isinstance(node, nodes.Include | nodes.Import):
            found.append(f"an include or import in line {node.lineno}")
        elif isinstance(node, nodes.Filter):
            if name == "attr":
                found.append(f"the filter attr, which walks attributes, in line {node.lineno}")
        elif isinstance(name, str) and name.startswith("_"):
            found.append(f"the private attribute {shown(name)} in line {node.lineno}")
    others = (nodes.FromImport, nodes.Extends, nodes.Pow)
    return found + [f"{type(node).__name__} in line {node.lineno}" for node in tree.find_all(others)]


def _loops(tree: Any, nodes: Any) -> list[str]:
    found = []
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            found.append(f"a recursive loop in line {loop.lineno}")
        if _ranges(loop.iter, nodes) and any(_ranges(inner.iter, nodes) for inner in _inner(loop, nodes)):
            found.append(f"a loop over a range inside another, line {loop.lineno}")
    for call in tree.find_all(nodes.Call):
        sizes = [arg.value for arg in call.args if isinstance(arg, nodes.Const) and isinstance(arg.value, int)]
        if getattr(call.node, "name", "") == "range" and any(size > LONGEST_RANGE for size in sizes):
            found.append(f"a range of {max(sizes)} in line {call.lineno}")
    for product in tree.find_all(nodes.Mul):
        if any(isinstance(side, nodes.Const) and isinstance(side.value, str) for side in (product.left, product.right)):
            found.append(f"a text multiplied in line {product.lineno}")
    return found


def _inner(loop: Any, nodes: Any) -> list[Any]:
    return [inner for statement in loop.body for inner in [statement, *statement.find_all(nodes.For)]
            if isinstance(inner, nodes.For)]  # fmt: skip


def _ranges(expression: Any, nodes: Any) -> bool:
    calls = [expression, *expression.find_all(nodes.Call)]
    return any(isinstance(call, nodes.Call) and getattr(call.node, "name", "") == "range" for call in calls)
