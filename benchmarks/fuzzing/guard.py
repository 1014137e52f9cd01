"""The command `inspect CANDIDATE --base BASE` in this process, with what it knows of base kept between inputs."""

import io
import signal
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

SECONDS = 5.0
"""A command that takes longer hangs."""

_ALLOWED = (0, 4)


class _Serial:
    """In the place of the pool that scans weights: on files this small its threads cost more than the scan."""

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> "_Serial":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


class HangError(BaseException):
    """The alarm of one input. No `except Exception` of a library swallows it."""


def install(bases: list[Path]) -> None:
    """Open these bases once. What a config.json builds is kept, too, by its bytes."""
    from unlearn_guard import intake
    from unlearn_guard.intake import answering, computed, deployed, parameters, weights

    known = {str(base) for base in bases}
    built: OrderedDict[bytes, Any] = OrderedDict()
    blueprint = parameters.blueprint

    def once(path: Path) -> Any:
        raw = (Path(path) / "config.json").read_bytes()
        if raw not in built:
            built[raw] = blueprint(path)
        built.move_to_end(raw)
        while len(built) > 16:
            built.popitem(last=False)
        return built[raw]

    parameters.blueprint = computed.blueprint = once  # type: ignore[assignment]
    weights.ThreadPoolExecutor = _Serial  # type: ignore[assignment, misc]
    intake.open_checkpoint = _kept(intake.open_checkpoint, known, str)  # type: ignore[assignment]
    intake.with_parameters = _kept(intake.with_parameters, known, lambda opened: opened.location)  # type: ignore[assignment]
    deployed.open_tokenizer = _kept(deployed.open_tokenizer, known, str)
    answering._settings = _kept(answering._settings, known, lambda opened: opened.location)


def _kept(function: Callable[..., Any], known: set[str], name: Callable[[Any], str]) -> Callable[..., Any]:
    results: dict[str, Any] = {}

    def call(first: Any, *rest: Any, **options: Any) -> Any:
        key = name(first)
        if key not in known or rest or options:
            return function(first, *rest, **options)
        if key not in results:
            results[key] = function(first)
        return results[key]

    return call


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise HangError in the block once it has taken so long."""

    def ring(*_: object) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def inspect(candidate: Path, base: Path) -> tuple[int, str, str | None]:
    """The command's status and words, and what is wrong with them: a traceback, a hang, another status, raw bytes."""
    from unlearn_guard.command_line import app as cli

    words = io.StringIO()
    status = -1
    try:
        with redirect_stdout(words), redirect_stderr(words), alarm(SECONDS):
            status = int(cli.run(["inspect", str(candidate), "--base", str(base)]))
    except HangError:
        return status, words.getvalue(), f"hang: over {SECONDS:.0f} s"
    except BaseException as error:  # tokenizers' PanicException is no Exception
        return status, words.getvalue(), f"traceback: {type(error).__name__} left the command\n{traceback.format_exc()}"
    return status, words.getvalue(), _fault(status, words.getvalue())


def _fault(status: int, words: str) -> str | None:
    if "Traceback (most recent call last)" in words or "panicked at" in words:
        return f"traceback:\n{words}"
    if status not in _ALLOWED:
        return f"status {status}: {words[-2000:]}"
    if not all(each.isprintable() or each == "\n" for each in words):
        return f"raw bytes: {words!r}"
    if len(words) > 200_000:
        return f"words without end: {len(words)} characters"
    return None
