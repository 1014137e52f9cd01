"""A run's other files, bent after they were written and listed anew by their digests."""

import json

import pytest
from readers import refused_by_all

from tests.oracles.made_directory import forged

NF4 = "samples/forget_task.nf4.candidate.jsonl"


def lines(out, name, change):
    path = out / name
    found = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(each) + "\n" for each in change(found)))


FILES = {
    "answers": lambda out: lines(out, NF4, lambda found: [{**each, "correct": 0.0} for each in found]),
    "fewer answers": lambda out: lines(out, NF4, lambda found: found[20:]),
    "other questions": lambda out: lines(out, NF4, lambda found: [{**each, "prompt": "x"} for each in found]),
    "the same answer twice": lambda out: lines(out, NF4, lambda found: [found[0], *found[:-1]]),
    "shares above one": lambda out: lines(out, NF4, lambda found: [{**each, "correct": 2.0} for each in found]),
    "answers in another dtype": lambda out: lines(
        out, "samples/forget_task.full-bfloat16.candidate.jsonl", lambda found: [{**e, "correct": 0.0} for e in found]
    ),
    "no answers in another dtype": lambda out: (out / "samples/forget_task.full-bfloat16.candidate.jsonl").write_text(
        ""
    ),
}


@pytest.mark.parametrize("bend", FILES)
def test_bent_answers_contradict_the_measurements(bend, run_dir, capsys):
    FILES[bend](run_dir)
    forged(run_dir, lambda _: None)
    refused_by_all(run_dir, "forget_task", capsys=capsys)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("attribution/forget_task.full.base.json", '"subject": "sha256:base"', '"subject": "sha256:other"'),
        ("attribution/forget_task.full.candidate.json", '"m0->m1": 0.75', '"m0->m1": 0.7'),
        ("weights/nf4.json", '"base": "sha256:base"', '"base": "sha256:other"'),
    ],
)
def test_bent_edge_scores_and_counts_are_refused(name, old, new, run_dir, capsys):
    path = run_dir / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    forged(run_dir, lambda _: None)
    refused_by_all(run_dir, capsys=capsys)


def test_a_file_of_nobody_s_answers_is_refused(run_dir, capsys):
    (run_dir / "samples" / "other.nf4.candidate.jsonl").write_bytes((run_dir / NF4).read_bytes())
    forged(run_dir, lambda c: c["files"].update({"samples/other.nf4.candidate.jsonl": {}}))
    refused_by_all(run_dir, "samples/other.nf4.candidate.jsonl", capsys=capsys)
