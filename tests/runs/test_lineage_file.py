"""What was found of an artifact's layers, written and read back; anything else is refused by field."""

import json
from pathlib import Path

import pytest

from unlearn_guard.errors import RunDirectoryError
from unlearn_guard.records import LayerLineage
from unlearn_guard.runs.lineage_file import name_of, read_lineage, write_lineage

LAYERS = (
    LayerLineage(layer="a", weights=64, within=0.99, towards=0.98, error=0.01),
    LayerLineage(layer="b", weights=64, within=1.0),
)
DIGESTS = {"candidate": "c", "artifact": "a"}


def test_round_trip(tmp_path: Path) -> None:
    write_lineage(tmp_path, "gptq", LAYERS, **DIGESTS)
    assert read_lineage(tmp_path / name_of("gptq"), **DIGESTS) == LAYERS


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("candidate", "d", "d, not c"),
        ("artifact", "d", "d, not a"),
        ("schema", "unlearn-guard.lineage/2", "schema"),
        ("layers", [], "layers"),
        ("layers", [{"layer": "a", "weights": "64", "within": 1.0}], "layers.0.weights"),
    ],
)
def test_what_is_not_this_run_s_is_refused(key: str, value: object, said: str, tmp_path: Path) -> None:
    write_lineage(tmp_path, "gptq", LAYERS, **DIGESTS)
    path = tmp_path / name_of("gptq")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(RunDirectoryError, match=r"lineage\.gptq\.json") as caught:
        read_lineage(path, **DIGESTS)
    assert said in str(caught.value)


def test_what_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"layers": NaN}')
    with pytest.raises(RunDirectoryError):
        read_lineage(tmp_path / "x.json", **DIGESTS)
    with pytest.raises(RunDirectoryError):
        read_lineage(tmp_path / "none.json", **DIGESTS)
