"""What edge scores and weight counts give again, by hand, and the octave in which a median update lies."""

import shutil
from dataclasses import replace

import pytest

from tests.oracles.made_directory import made_directory, of_candidate
from tests.oracles.made_scores import BASE, CANDIDATE, made_run
from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.records import LayerDrift
from unlearn_guard.reopening.beside import from_files
from unlearn_guard.runs.drift_file import write_drift

COUNTS = "weights/nf4.json"
FULL_BASE, FULL, NF4 = (
    f"attribution/forget_task.{each}.json" for each in ("full.base", "full.candidate", "nf4.candidate")
)


def layer(name="l0", weights=100, flipped=50, survived=0, **octaves):
    """`o8=2`: two weights in octave 8, that is [2^-4, 2^-3)."""
    ratios = tuple(octaves.get(f"o{index}", 0) for index in range(17))
    return LayerDrift(
        layer=name, weights=weights, changed=sum(ratios), flipped=flipped, survived=survived, ratios=ratios
    )


def given(tmp_path, *layers, width=None):
    """What the counts of these layers give, beside a run whose median update is `width` bins."""
    write_drift(tmp_path / "weights", layers, base=BASE, candidate=CANDIDATE)
    run, _ = made_run()
    median = [of_candidate("update_to_bin", width, task="weights", precision="nf4")] if width is not None else []
    run = replace(run, measurements=(*run.measurements, *median))
    return {metric: value for (_, metric, _, _), value in from_files(tmp_path, run, [COUNTS]).items()}


def test_shares_add_up_over_layers(tmp_path):
    """4 of 20 weights flipped, 3 of the 5 that changed survived."""
    layers = (
        layer(weights=12, flipped=3, survived=2, o8=4),
        layer(name="l1", weights=8, flipped=1, survived=1, o9=1),
    )
    assert given(tmp_path, *layers) == {"code_flip_rate": 0.2, "floor_survival": 0.6}
    assert from_files(tmp_path, made_run()[0], []) == {}, "no such file is listed"


def test_where_nothing_changed_nothing_survived_and_no_update_has_a_width(tmp_path):
    assert given(tmp_path, layer(flipped=0), width=0.5) == {"code_flip_rate": 0.0}
    (key,) = from_files(tmp_path, made_run()[0], [COUNTS])
    assert key == (CANDIDATE, "code_flip_rate", "weights", "nf4")


@pytest.mark.parametrize(
    ("octaves", "low", "high"),
    [
        ([{"o8": 2, "o10": 1}], 2**-4, 2**-3),
        ([{"o8": 1, "o10": 1}], 2**-4, 2**-3),
        ([{"o8": 2, "o10": 2}], 2**-4, 2**-3),
        ([{"o8": 1, "o10": 2}], 2**-2, 2**-1),
        ([{"o8": 1, "o10": 3}], 2**-2, 2**-1),
        ([{"o8": 2}, {"o10": 3}], 2**-2, 2**-1),
        ([{"o1": 1}], 2**-11, 2**-10),
        ([{"o15": 1}], 2**3, 2**4),
        ([{"o0": 1}], 1e-300, 2**-11),
        ([{"o16": 1}], 2**4, 1e300),
    ],
)
def test_the_median_lies_in_the_octave_that_holds_it(tmp_path, octaves, low, high):
    """The lower of two in the middle; the outermost octaves also hold what lies beyond."""
    layers = [layer(name=f"l{index}", **each) for index, each in enumerate(octaves)]
    for width in (low, high * (1 - 1e-9)):
        assert given(tmp_path, *layers, width=width)
    beyond = [each for each in (low * (1 - 1e-9), high) if 1e-200 < each < 1e200]
    assert beyond
    for width in beyond:
        with pytest.raises(RunDirectoryError, match="update_to_bin") as caught:
            given(tmp_path, *layers, width=width)
        if low > 1e-200 and high < 1e200:
            assert caught.value.defects[0].expected == f"{low:g} to {high:g}, by the counts"


@pytest.fixture
def attributed(tmp_path):
    """A run's directory, and the run with a divergence at both precisions."""
    out = made_directory(tmp_path / "run")
    shutil.copy(out / FULL, out / NF4)
    run, _ = made_run()
    found = [of_candidate("cad", 0.5, precision=precision) for precision in ("full", "nf4")]
    return out, replace(run, measurements=tuple(found))


@pytest.mark.parametrize(
    ("files", "precisions"),
    [
        ([FULL_BASE, FULL, NF4], {"full", "nf4"}),
        ([FULL_BASE, NF4], {"nf4"}),
        ([FULL_BASE, FULL], {"full"}),
        ([FULL, NF4], set()),
        ([], set()),
    ],
)
def test_a_divergence_needs_the_scores_of_both_sides(attributed, files, precisions):
    """By hand: base scores 1, 3/4, 2, 0.1, the candidate 0, 3/4, 1, 0."""
    out, run = attributed
    found = from_files(out, run, files)
    assert set(found) == {
        (CANDIDATE, metric, "forget_task", precision) for metric in ("cad", "as_c", "as_nc") for precision in precisions
    }


def test_where_no_divergence_was_measured_no_edge_scores_are_read(attributed):
    out, run = attributed
    (out / FULL).write_text("{")
    assert from_files(out, replace(run, measurements=()), [FULL_BASE, FULL]) == {}
    with pytest.raises(RunDirectoryError) as caught:
        from_files(out, run, [FULL_BASE, FULL])
    assert caught.value.defects[0].where == FULL


@pytest.mark.parametrize(("name", "old", "new"), [(FULL_BASE, BASE, "sha256:x"), (FULL, '"forget_task"', '"other"')])
def test_edge_scores_of_another_model_or_task_are_refused_by_file(attributed, name, old, new):
    out, run = attributed
    (out / name).write_text((out / name).read_text().replace(old, new))
    with pytest.raises(RunDirectoryError) as caught:
        from_files(out, run, [FULL_BASE, FULL])
    assert caught.value.defects[0].where in (name, FULL)
