"""A task is known by all the code that counts its answers, however that code is reached."""

import functools
import itertools
import operator
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.scoring.test_rendering import change, digests, refusal
from unlearn_guard.scoring.functions import plain


@pytest.fixture
def folder(world):
    return world.parent.parent / "invented"


def counted_by(folder: Path, code: str, **others: str) -> None:
    """The lettered task counts by `utils.count`; other files lie beside or below it."""
    (folder / "utils.py").write_text(code)
    for name, text in others.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    change_once(folder / "lettered.yaml")


def change_once(path: Path) -> None:
    text = path.read_text()
    if "process_results" not in text:
        path.write_text(text + "process_results: !function utils.count\n")


RIGHT = "def right(doc, results, points=1.0):\n    return {'acc': points}\n"
WAYS = {
    "a function": (RIGHT + "count = right", "points=1.0", "points=0.5"),
    "a partial's keyword": (
        RIGHT + "import functools\ncount = functools.partial(right, points=1.0)",
        "right, points=1.0",
        "right, points=0.5",
    ),
    "a lambda": ("count = lambda doc, results: {'acc': 1.0}", "1.0", "0.0"),
    "an object": (
        "class Count:\n    def __call__(self, doc, results):\n        return {'acc': 1.0}\ncount = Count()",
        "1.0",
        "0.0",
    ),
    "a method": (
        "class Count:\n    def one(self, doc, results):\n        return {'acc': 1.0}\ncount = Count().one",
        "1.0",
        "0.0",
    ),
    "what a factory made": (
        "def make(points):\n    def count(doc, results):\n        return {'acc': points}\n    return count\n"
        "count = make(1.0)",
        "make(1.0)",
        "make(0.5)",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_digest_tells_another_way_to_count(world, folder, way):
    code, old, new = WAYS[way]
    counted_by(folder, code)
    before = digests(world)
    assert digests(world) == before
    change(world, "utils.py", old, new)
    assert digests(world)["invented_lettered"] != before["invented_lettered"]


@pytest.mark.parametrize("helper", ["helpers", "deep__helpers"])
def test_the_digest_tells_a_changed_helper(world, folder, helper):
    """It is imported by `utils.py`, perhaps only when an answer is counted."""
    code = "def count(doc, results):\n    import sys\n    return {'acc': 1.0}"
    counted_by(folder, code, **{helper: "POINTS = 1.0"})
    before = digests(world)
    (folder / f"{helper.replace('__', '/')}.py").write_text("POINTS = 0.5")
    assert digests(world)["invented_lettered"] != before["invented_lettered"]


def test_the_digest_tells_a_changed_helper_beside_an_included_file(world, folder):
    shared = folder.parent / "shared"
    shared.mkdir()
    (shared / "_count_yaml").write_text("process_results: !function utils.count\n")
    (shared / "utils.py").write_text("def count(doc, results):\n    return {'acc': 1.0}")
    (shared / "helpers.py").write_text("POINTS = 1.0")
    path = folder / "lettered.yaml"
    path.write_text("include: ../shared/_count_yaml\n" + path.read_text())
    before = digests(world)
    (shared / "helpers.py").write_text("POINTS = 0.5")
    after = digests(world)
    assert after["invented_lettered"] != before["invented_lettered"]
    assert after["invented_worded"] == before["invented_worded"]


def test_a_virtual_environment_and_hidden_folders_are_no_code_of_the_task(world, folder):
    for name in (".hidden", "venv", "__pycache__"):
        (folder / name).mkdir()
    (folder / "venv" / "pyvenv.cfg").write_text("")
    before = digests(world)
    for name in (".hidden", "venv", "__pycache__"):
        (folder / name / "module.py").write_text("x = 1")
    assert digests(world) == before


def test_a_linked_folder_is_read_and_a_circle_ends(world, folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    before = digests(world)
    (tmp_path / "elsewhere" / "helpers.py").write_text("x = 1")
    assert digests(world) != before


def test_the_digest_is_the_same_elsewhere_and_in_another_process(world, folder, tmp_path):
    counted_by(folder, WAYS["an object"][0])
    code = (
        "import sys; from pathlib import Path; from tests.scoring.test_rendering import digests;"
        "print(sorted(digests(Path(sys.argv[1])).items()))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(world)], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == str(sorted(digests(world).items()))


def test_what_cannot_be_told_from_another_is_refused(world, folder):
    code = (
        "import threading\ndef make(lock):\n    def count(doc, results):\n        return {'acc': float(bool(lock))}\n"
    )
    counted_by(folder, code + "    return count\ncount = make(threading.Lock())")
    assert "make it inside the function" in refusal(world)


class Points:
    def __init__(self, points):
        self.points = points

    def __call__(self, doc, results):
        return self.points

    count = __call__


def a(doc, results=1):
    return results


one, other = (lambda: 1), (lambda: 2)
DIFFERENT = {
    "lambdas on one line": (one, other),
    "partials' functions": (functools.partial(max, 1), functools.partial(min, 1)),
    "partials' arguments": (functools.partial(max, 1), functools.partial(max, 2)),
    "nested partials": (
        functools.partial(functools.partial(max, 1), 2),
        functools.partial(functools.partial(max, 3), 2),
    ),
    "objects' state": (Points(1), Points(2)),
    "methods of objects of another state": (Points(1).count, Points(2).count),
    "getters": (operator.itemgetter("a"), operator.itemgetter("b")),
    "expressions": (re.compile("a").search, re.compile("b").search),
    "numbers and texts": (1, "1"),
    "sets": ({1, 2}, {1, 3}),
    "cached functions": (functools.cache(one), functools.cache(other)),
    "builtins": (len, sum),
    "classes": (Points, threading.Thread),
    "iterators": (itertools.count(1), itertools.count(2)),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_what_differs_is_told_apart(what):
    first, second = DIFFERENT[what]
    assert plain(first) != plain(second)
    assert plain(first) == plain(first)
    assert " at 0x" not in repr(plain(first))


def test_what_holds_itself_ends():
    ring = Points(1)
    ring.points = [ring]
    assert plain(ring) == plain(ring)
    made = {}
    made["itself"] = made
    assert plain(made)
