"""A tokenizer's missing package is named, with the command that installs it."""

import shutil
import sys
from pathlib import Path

import pytest

from unlearn_guard.errors import CheckpointError, ExitStatus
from unlearn_guard.intake import open_checkpoint, packages

PIECES = b"\x0a\x03\x0a\x01a"


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch):
    def lack(*absent: str) -> None:
        monkeypatch.setattr(packages, "_installed", lambda module: module not in absent)

    return lack


@pytest.mark.parametrize(
    ("name", "absent", "command"),
    [
        ("tokenizer.model", ("sentencepiece",), "pip install sentencepiece`"),
        ("tokenizer.model", ("google.protobuf",), "pip install protobuf`"),
        ("spiece.model", ("sentencepiece", "google.protobuf"), "pip install sentencepiece protobuf`"),
        ("sentencepiece.bpe.model", ("sentencepiece", "tiktoken"), "pip install sentencepiece`"),
        ("tekken.json", ("mistral_common",), "pip install mistral-common`"),
    ],
)
def test_what_only_an_absent_package_reads_is_refused(
    sound: Path, lacking, name: str, absent: tuple[str, ...], command: str
) -> None:
    (sound / "tokenizer.json").unlink()
    (sound / name).write_bytes(PIECES if name.endswith(".model") else b"{}")
    lacking(*absent)
    with pytest.raises(CheckpointError) as caught:
        packages.assert_packages(sound)
    assert f"{name}: found a vocabulary that is read with" in str(caught.value)
    assert command in str(caught.value)
    assert caught.value.exit_status is ExitStatus.USAGE
    lacking()
    packages.assert_packages(sound)


@pytest.mark.parametrize("beside", [("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",)])
def test_a_file_that_is_not_needed_asks_for_nothing(tmp_path: Path, lacking, beside: tuple[str, ...]) -> None:
    lacking("sentencepiece", "google.protobuf", "tiktoken", "mistral_common")
    for name in ("tokenizer.model", "tekken.json", *beside):
        (tmp_path / name).write_bytes(b"")
    packages.assert_packages(tmp_path)
    (tmp_path / beside[-1]).unlink()
    with pytest.raises(CheckpointError, match="sentencepiece"):
        packages.assert_packages(tmp_path)


@pytest.mark.parametrize(
    ("error", "absent", "command"),
    [
        (ValueError("`tiktoken` is required to read a `tiktoken` file."), ("tiktoken",), "`pip install tiktoken`."),
        (ImportError("X requires the SentencePiece library"), ("sentencepiece",), "`pip install sentencepiece`."),
        (ModuleNotFoundError("No module named 'mistral_common'"), ("mistral_common",), "`pip install mistral-common`."),
        (ValueError("`tiktoken` is required"), (), ""),
        (ValueError("broken"), ("tiktoken",), ""),
    ],
)
def test_advice_on_what_transformers_raises(lacking, error: Exception, absent: tuple[str, ...], command: str) -> None:
    lacking(*absent)
    assert packages.advice(error) == command


def test_what_is_installed_is_what_python_would_import(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packages._installed("json")
    assert packages._installed("json.decoder")
    assert not packages._installed("no_such_module")
    assert not packages._installed("no_such_module.part")
    monkeypatch.setitem(sys.modules, "json", None)
    assert not packages._installed("json")


def test_a_directory_without_a_tokenizer_opens_where_none_is_wanted(sound: Path) -> None:
    with_one = open_checkpoint(sound).checkpoint.digest
    assert open_checkpoint(sound, tokenizer=False).checkpoint.digest == with_one
    (sound / "tokenizer.json").unlink()
    assert open_checkpoint(sound, tokenizer=False).tokenizer.sources == ()
    (sound / "tokenizer_config.json").unlink()
    assert open_checkpoint(sound, tokenizer=False).tokenizer.sources == ()
    with pytest.raises(CheckpointError, match="tokenizer"):
        open_checkpoint(sound)


def test_a_broken_tokenizer_is_refused_even_where_none_is_wanted(sound: Path, tmp_path: Path, refused) -> None:
    broken = Path(shutil.copytree(sound, tmp_path / "broken"))
    (broken / "tokenizer.json").write_text("{")
    refused(broken, "tokenizer.json", tokenizer=False)


def test_of_two_vocabularies_the_one_that_is_read_is_named(sound: Path, lacking) -> None:
    (sound / "tokenizer.json").unlink()
    for name in ("tokenizer.model", "tekken.json"):
        (sound / name).write_bytes(b"")
    lacking("sentencepiece", "google.protobuf", "mistral_common")
    with pytest.raises(
        CheckpointError, match="read with sentencepiece and protobuf, which are not installed"
    ) as caught:
        packages.assert_packages(sound)
    assert [each.where for each in caught.value.defects] == ["tokenizer.model"]
