"""Which small faults in the rooms that decide a verdict would none of their own tests notice?

    pip install mutmut==3.8.1
    python benchmarks/mutants.py judging runs reading reopening intake      `mutants/found.json` keeps what came out
    python benchmarks/mutants.py judging --only 'unlearn_guard.judging.gate.*'
    python benchmarks/mutants.py judging --left                             what no test noticed the last time
    python benchmarks/mutants.py judging --on                               what was not tried before it was stopped

One place is changed at a time: a comparison, a bound, a constant, a string, `and` for `or`, a sum for a difference, a
condition turned over, a named argument left out, a result or an exception that does not come. The tests that call the
changed function, quickest first, run in a fork of a process that has them loaded; one that does not end has noticed.
Not counted are the words of an error, and what mutmut does not reach: what is decorated or stands outside functions.
"""

import argparse
import difflib
import fnmatch
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import libcst as cst
import libcst.matchers as m
import pytest
from hypothesis import Phase, settings
from mutmut.configuration import config
from mutmut.mutation import file_mutation, mutators
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

PACKAGE = Path("unlearn_guard")
TEXT = m.SimpleString() | m.ConcatenatedString() | m.FormattedString()
SAID = m.Name(value=m.MatchRegex("found|found_text|expected|fix|where|reason|summary"))
WORDS = m.OneOf(
    m.Call(
        func=m.Name(value=m.MatchRegex(r"Defect|cast|shown|\w*Error|_error|_?refused?|_wrong|refusal|storage_error"))
    ),
    m.Assign(targets=[m.AssignTarget(SAID)], value=TEXT),
    m.Assign(
        targets=[m.AssignTarget(m.Tuple([m.AtLeastN(m.Element(SAID), n=1)]))],
        value=m.Tuple([m.AtLeastN(m.Element(TEXT), n=1)]),
    ),
)
ARGUMENTS = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--assert=plain", "--tb=native"]
ARGUMENTS += ["-k", "not half_a_second"]  # with mutmut's wrappers around every function no time is the real one
UNTOUCHED = "none__mutmut_0"
NOTICED = ("killed", "out of time")


def turned(node: cst.If | cst.While) -> Iterable[cst.CSTNode]:
    """The condition's opposite."""
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(test=cst.UnaryOperation(operator=cst.Not(), expression=test))


def kept_back(node: cst.Return) -> Iterable[cst.CSTNode]:
    """Nothing in place of the result, save where that is false either way: a `False` has its own mutant, `True`."""
    if node.value is not None and not m.matches(node.value, m.Name("None") | m.Name("False")):
        yield node.with_changes(value=cst.Name("None"))


def unraised(_: cst.Raise) -> Iterable[cst.CSTNode]:
    """On, as if nothing were wrong."""
    yield cst.Pass()


def left_out(node: cst.Call) -> Iterable[cst.Call]:
    """One named argument less: where it has a default, that."""
    for i, argument in enumerate(node.args):
        if argument.keyword is not None:
            yield node.with_changes(args=[*node.args[:i], *node.args[i + 1 :]])


def renamed(node: cst.SimpleString) -> Iterable[cst.BaseString]:
    """Another string; mutmut's other two are this one in capitals."""
    yield from list(mutators.operator_string(node))[:1]


OPERATORS = [
    (cst.BaseNumber, mutators.operator_number),
    (cst.SimpleString, renamed),
    (cst.Name, mutators.operator_name),
    (cst.UnaryOperation, mutators.operator_remove_unary_ops),
    (cst.Call, mutators.operator_symmetric_string_methods_swap),
    (cst.Call, mutators.operator_unsymmetrical_string_methods_swap),
    (cst.Call, left_out),
    (cst.CSTNode, mutators.operator_keywords),
    (cst.CSTNode, mutators.operator_swap_op),
    (cst.AugAssign, mutators.operator_augmented_assignment),
    (cst.Match, mutators.operator_match),
    (cst.IfExp, mutators.operator_if_exp),
    ((cst.If, cst.While), turned),
    (cst.Return, kept_back),
    (cst.Raise, unraised),
]


class Visitor(file_mutation.MutationVisitor):
    """mutmut's, which does not touch the words of an error."""

    def on_visit(self, node: cst.CSTNode) -> bool:
        return not m.matches(node, WORDS) and super().on_visit(node) and not isinstance(node, cst.Raise)


def plant(rooms: list[str]) -> dict[str, str]:
    """A copy of the repository in `mutants/` that holds every mutant; name of each -> its difference."""
    shutil.rmtree("mutants", ignore_errors=True)
    shutil.copytree(".", "mutants", ignore=shutil.ignore_patterns(".*", "mutants", "__pycache__"))
    file_mutation.mutation_operators, file_mutation.MutationVisitor = OPERATORS, Visitor
    planted = {}
    for path in sorted(path for room in rooms for path in (PACKAGE / room).glob("*.py")):
        made = file_mutation.mutate_file_contents(str(path), path.read_text(encoding="utf-8"))
        if made.mutant_names:
            Path("mutants", path).write_text(made.code, encoding="utf-8")
        module, lines = ".".join(path.with_suffix("").parts).removesuffix(".__init__"), made.code.splitlines()
        for name in made.mutant_names:
            spans = made.line_span_by_function_name
            both = [spans[f"{name.rpartition('_')[0]}_orig"], spans[name]]
            old, new = ([line.strip() for line in lines[span.start - 1 : span.end]] for span in both)
            changed = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if not line.startswith("@@")]
            planted[f"{module}.{name}"] = "\n".join(line for line in changed[2:] if "__mutmut" not in line)
    return planted


class Session:
    """In place of pytest's loop: once with every test, to see which functions each calls; then a fork a mutant."""

    def __init__(self, names: list[str], jobs: int) -> None:
        self.names, self.jobs = names, jobs
        self.found: dict[str, str] = {}
        self.early: set[str] = set()
        self.noticed: dict[str, set[str]] = defaultdict(set)
        self.calls: dict[str, list[tuple[float, pytest.Item]]] = defaultdict(list)
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.early = set(state()._stats)  # called while the tests are loaded
        for item, following in zip(session.items, [*session.items[1:], None], strict=True):
            state()._stats.clear()
            started = time.monotonic()
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                raise SystemExit(f"{item.nodeid} fails without any mutant")
            for function in state()._stats:
                self.calls[function].append((time.monotonic() - started, item))
        gc.freeze()  # forks share what is there
        self.calls["none"] = [(0.1, item) for item in session.items]
        self._ended({self._fork(UNTOUCHED): UNTOUCHED})
        if self.found.pop(UNTOUCHED) != "survived":
            raise SystemExit("a test fails in a fork without any mutant: it would seem to notice all of them")
        self._try_all()
        return True

    def _try_all(self) -> None:
        running: dict[int, str] = {}
        # What has been tried when one stops is an even sample of all.
        for at, name in enumerate(random.Random(0).sample(self.names, len(self.names))):
            while len(running) == self.jobs:
                self._ended(running)
            if not self._tests(name) and not self._early(name):
                self.found[name] = "called by no test"
                continue
            running[self._fork(name)] = name
            if at % 20 == 0:
                Path("found.json").write_text(json.dumps(self.found, indent=1), encoding="utf-8")
                print(f"{at} of {len(self.names)}, {self.survivors()} survived", file=sys.stderr, flush=True)
        while running:
            self._ended(running)

    def survivors(self) -> int:
        return sum(status not in NOTICED for status in self.found.values())

    def _tests(self, name: str) -> list[tuple[float, pytest.Item]]:
        """First those that have noticed another mutant of the same function, then by file, then the quickest."""
        function = name.rpartition("__mutmut_")[0]
        known = self.noticed[function]
        return sorted(
            self.calls.get(function, []),
            key=lambda each: (each[1].nodeid not in known, _far(each[1].path, name), each[0]),
        )

    def _early(self, name: str) -> bool:
        return name.rpartition("__mutmut_")[0] in self.early

    def _ended(self, running: dict[int, str]) -> None:
        pid, status = os.wait()
        if pid in running:  # and no helper that a test has left
            outcomes = {0: "survived", -signal.SIGALRM: "out of time"}
            name, by = running.pop(pid), Path(f"noticed.{pid}")
            shutil.rmtree(_folder(pid), ignore_errors=True)
            self.found[name] = outcomes.get(os.waitstatus_to_exitcode(status), "killed")
            if by.exists():
                self.noticed[name.rpartition("__mutmut_")[0]].add(by.read_text(encoding="utf-8"))
                by.unlink()

    def _fork(self, name: str) -> int:
        tests, here = self._tests(name), Path.cwd()
        if pid := os.fork():
            return pid
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(int(6 + 4 * sum(seconds for seconds, _ in tests) + 60 * self._early(name)))
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1), os.dup2(nothing, 2)
        set_mutant_under_test(name)
        # One folder for all of them would have a hundred thousand entries, which each test lists.
        _folder(os.getpid()).mkdir()
        for _, item in tests[:1]:
            item.config._tmp_path_factory._basetemp = _folder(os.getpid())
        try:
            for _, item in tests:
                item._initrequest()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if self.failed:
                    (here / f"noticed.{os.getpid()}").write_text(item.nodeid, encoding="utf-8")
                    os._exit(1)
            if self._early(name):  # what it gave while the tests were loaded stays as it was, save in a new process
                files = sorted(Path("tests", name.split(".")[1]).glob("test_*.py"), key=lambda path: _far(path, name))
                from unlearn_guard.processes.children import python  # the mutated package's: not before it is found

                command = python("pytest")
                os.execv(command[0], [*command, "-x", *ARGUMENTS, *map(str, files)])
        except BaseException:
            os._exit(1)
        os._exit(0)


@cache
def _far(tests: Path, name: str) -> int:
    """How far a file of tests is from a mutant's: it is called like it, it names it, or neither."""
    module = name.partition(".x")[0].rpartition(".")[2]
    return 0 if tests.stem.startswith(f"test_{module}") else 1 + (module not in tests.read_text(encoding="utf-8"))


def _folder(pid: int) -> Path:
    """Where the tests of a fork keep their files."""
    return Path(tempfile.gettempdir(), f"mutants-{pid}")


def told(found: dict[str, str], planted: dict[str, str]) -> Iterator[str]:
    """A table of the files, and each survivor with its difference."""
    files = defaultdict(list)
    for name, status in sorted(found.items()):
        files[name.partition(".x")[0].partition(".")[2].replace(".", "/")].append(status in NOTICED)
    for file, killed in [*sorted(files.items()), ("all", [each for outcomes in files.values() for each in outcomes])]:
        rate = sum(killed) / len(killed)
        yield f"| {file} | {len(killed)} | {sum(killed)} | {len(killed) - sum(killed)} | {rate:.1%} |"
    for name, status in sorted(found.items()):
        if status not in NOTICED:
            yield f"\n{name}: {status}\n{planted[name]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rooms", nargs="+")
    parser.add_argument("--only", nargs="+", default=["*"], help="patterns of mutants' names")
    parser.add_argument("--tests", nargs="+", help="instead of tests/ROOM")
    again = parser.add_mutually_exclusive_group()
    again.add_argument("--left", action="store_true", help="only those that no test noticed the last time")
    again.add_argument("--on", action="store_true", help="only those that were not tried the last time")
    parser.add_argument("--jobs", type=int, default=1)
    asked = parser.parse_args()
    config()
    last = Path("mutants/found.json")
    known = json.loads(last.read_text(encoding="utf-8")) if asked.left or asked.on else {}
    planted = plant(asked.rooms)
    names = [name for name in planted if any(fnmatch.fnmatchcase(name, pattern) for pattern in asked.only)]
    if asked.left:
        names = [name for name in names if name in known and known[name] not in NOTICED]
    elif asked.on:
        names = [name for name in names if name not in known]
    os.chdir("mutants")
    sys.path[:] = [str(Path.cwd()), *(each for each in sys.path if Path(each).resolve() != Path.cwd().parent)]
    os.environ["PYTHONPATH"] = str(Path.cwd())
    session = Session(names, asked.jobs)
    session.found = {name: known[name] for name in planted if name in known}
    tests = asked.tests or [f"tests/{room}" for room in asked.rooms]
    # An example that fails has noticed; a smaller one would notice no more.
    settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), database=None)
    settings.load_profile("mutants")
    set_mutant_under_test("stats")
    pytest.main([*ARGUMENTS, *tests], plugins=[session])
    Path("found.json").write_text(json.dumps(session.found, indent=1), encoding="utf-8")
    print("\n".join(told(session.found, planted)))


if __name__ == "__main__":
    main()
