"""Each command's --help shows what to type, and what it shows can be typed; a shell can complete the rest."""

import shlex
from collections.abc import Iterator

import click
import pytest

from unlearn_guard.command_line.app import app
from unlearn_guard.command_line.examples import EXAMPLES


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in commands(app)])
def test_each_command_has_an_example_that_can_be_typed(path: str) -> None:
    command = {" ".join(words): each for words, each in commands(app)}[path]
    # click keeps the option that a command first helped with: as on a command line, or other tests see another one.
    shown = command.get_help(click.Context(command, click.Context(app, **app.context_settings), path))
    assert EXAMPLES[path]
    for example in EXAMPLES[path]:
        assert f"  {example}\n" in f"{shown}\n", "a line of its own, not wrapped"
        words = shlex.split(example.partition(" > ")[0])
        assert words[: 1 + len(path.split())] == ["unlearn-guard", *path.split()]
        rest = [each if each != "runs/*" else "runs/a" for each in words[1 + len(path.split()) :]]
        command.make_parser(click.Context(command)).parse_args(rest)


def test_there_is_no_example_of_a_command_that_is_not_there() -> None:
    assert {*EXAMPLES} - {""} == {" ".join(path) for path, _ in commands(app)}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(process, shell: str) -> None:
    done = process(_UNLEARN_GUARD_COMPLETE=f"{shell}_source")
    assert done.status == 0, done.text
    assert "_UNLEARN_GUARD_COMPLETE" in done.out


def test_names_are_completed(process) -> None:
    done = process(_UNLEARN_GUARD_COMPLETE="bash_complete", COMP_WORDS="unlearn-guard list po", COMP_CWORD="2")
    assert done.status == 0
    assert "policies" in done.out
