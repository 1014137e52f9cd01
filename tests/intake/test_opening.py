"""Each hazard of a checkpoint, made for real: what the refusal says, and that all defects come at once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkpoint_files import CONFIG, shard, weights, write

from unlearn_guard.errors import CheckpointError
from unlearn_guard.intake import assert_unchanged, open_checkpoint
from unlearn_guard.records import FULL


def test_a_sound_checkpoint_opens(sound: Path) -> None:
    intake = open_checkpoint(str(sound))
    assert intake.checkpoint.path == sound.resolve()
    assert intake.checkpoint.precision == FULL
    assert intake.location == str(sound)
    assert [tensor.name for tensor in intake.tensors] == sorted(weights())
    assert intake.parameters == sum(len(raw) // 4 for _, _, raw in weights().values())
    assert (intake.notes, intake.manifest, intake.template) == ((), None, None)


def test_opening_imports_no_torch(sound: Path) -> None:
    code = (
        f"import sys; from unlearn_guard.intake import open_checkpoint; open_checkpoint({str(sound)!r});"
        "print(any(name in sys.modules for name in ('torch', 'transformers', 'huggingface_hub')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_truncated_weights_are_named(sound: Path, refused) -> None:
    raw = (sound / "model.safetensors").read_bytes()
    (sound / "model.safetensors").write_bytes(raw[:-10])
    refused(sound, r"model.safetensors: found a file cut short", r"fetch the file again")


def test_every_missing_shard_is_listed(sound: Path, refused) -> None:
    shard(sound, weights(), 4)
    for part in (2, 4):
        (sound / f"model-0000{part}-of-00004.safetensors").unlink()
    error = refused(sound, "model-00002-of-00004", "model-00004-of-00004", r"5 tensors by model.safetensors.index")
    assert len(error.defects) == 2


def test_an_index_and_its_shards_must_agree_both_ways(sound: Path, refused) -> None:
    shard(sound, weights(), 2, {"ghost": "model-00001-of-00002.safetensors"})
    index = json.loads((sound / "model.safetensors.index.json").read_text())
    del index["weight_map"]["lm_head.weight"]
    index["weight_map"]["model.norm.weight"] = "model-00001-of-00002.safetensors"
    (sound / "model.safetensors.index.json").write_text(json.dumps(index))
    error = refused(
        sound, "'ghost'.*'no shard'", "'lm_head.weight': found the index says 'left out'", "model.norm.weight"
    )
    assert len(error.defects) == 3


@pytest.mark.parametrize("target", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", "..", 5, None, "x.bin"])
def test_a_weight_map_names_bare_files_only(sound: Path, refused, target: object) -> None:
    shard(sound, weights(), 2, {"lm_head.weight": target})
    refused(sound, r"weight_map\['lm_head.weight'\]", "the bare name of a .safetensors file")


def test_a_shard_outside_the_index_is_refused(sound: Path, refused) -> None:
    shard(sound, weights(), 2)
    (sound / "model-00003-of-00003.safetensors").write_bytes(b"old")
    refused(sound, r"no mention of 'model-00003-of-00003.safetensors'")


def test_both_single_file_and_index_are_refused(sound: Path, refused) -> None:
    shard(sound, weights(), 2)
    write(sound)
    refused(sound, "both model.safetensors and model.safetensors.index.json", "ignores the shards", "Delete what")


@pytest.mark.parametrize("named", ["model.safetensors", "model-00001-of-00002.safetensors"])
def test_an_index_that_an_earlier_save_left_is_noted_and_not_sealed(sound: Path, tmp_path: Path, named: str) -> None:
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights(), named)}
    (sound / "model.safetensors.index.json").write_text(json.dumps(index))
    opened = open_checkpoint(sound, seal_in=tmp_path / "seals")
    assert "model.safetensors.index.json" not in opened.sealed
    assert any("model.safetensors.index.json" in note for note in opened.notes)


def test_an_adapter_s_config_beside_whole_weights_says_what_to_delete(sound: Path, refused) -> None:
    (sound / "adapter_config.json").write_text("{}")
    refused(sound, "Merge it first", "delete this file")


def test_a_tensor_in_two_shards_is_refused(sound: Path, refused) -> None:
    shard(sound, weights(), 2)
    (sound / "model-00002-of-00002.safetensors").write_bytes((sound / "model-00001-of-00002.safetensors").read_bytes())
    refused(sound, "also in 'model-00001-of-00002.safetensors'; expected each tensor once")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_links_that_leave_the_directory_are_refused_unless_allowed(
    tmp_path: Path, sound: Path, refused, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (sound / name).rename(outside / name)
    (sound / name).symlink_to(outside / name)
    refused(sound, f"'{name}': found a link to .*outside.*; expected a file inside", "cp -L")
    assert open_checkpoint(sound, allow_root=outside).notes == ()


def test_a_broken_link_a_pipe_and_a_folder_are_named_together(sound: Path, refused) -> None:
    (sound / "config.json").unlink()
    (sound / "config.json").symlink_to(sound / "gone")
    (sound / "tokenizer.json").unlink()
    os.mkfifo(sound / "tokenizer.json")
    (sound / "vocab.json").mkdir()
    assert len(refused(sound, "'config.json'", "'tokenizer.json': found a directory, pipe").defects) == 3


def test_a_quantized_checkpoint_is_an_artifact_and_only_that(sound: Path, refused, tmp_path: Path) -> None:
    refused(write(tmp_path / "q", config={"quantization_config": {"quant_method": "gptq"}}), "'gptq'", "--artifact")
    assert open_checkpoint(tmp_path / "q", precision="gptq").checkpoint.precision == "gptq"
    refused(sound, "the recipe of a nf4 model", precision="nf4")


def test_pickles_and_code_are_named_and_never_opened(sound: Path, refused) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "rng_state.pth", "optimizer.pt", "modeling_x.py"):
        os.mkfifo(sound / name)  # opening one would wait for ever
    (note,) = open_checkpoint(sound).notes
    assert all(name in note for name in ("pytorch_model.bin", "rng_state.pth", "modeling_x.py"))
    (sound / "model.safetensors").unlink()
    refused(sound, "only .*'pytorch_model.bin'.*never opened", "safe_serialization=True")


def test_an_adapter_is_no_model(sound: Path, refused) -> None:
    (sound / "adapter_config.json").write_text("{}")
    (sound / "model.safetensors").unlink()
    error = refused(sound, "adapter_config.json", "merge_and_unload")
    assert "delete this file" not in str(error)


def test_safetensors_of_other_names_are_noted_or_missed(sound: Path, refused) -> None:
    (sound / "consolidated.safetensors").write_bytes(b"")
    assert "consolidated.safetensors" in open_checkpoint(sound).notes[0]
    (sound / "model.safetensors").unlink()
    refused(sound, "only 'consolidated.safetensors'; expected model.safetensors")


def test_all_defects_come_in_one_error(sound: Path, refused) -> None:
    (sound / "config.json").write_text(json.dumps({**CONFIG, "auto_map": {"a": "b.C"}, "vocab_size": 10**9}))
    (sound / "tokenizer.json").write_text("{")
    (sound / "unlearn_guard.json").write_text('{"seed": "x"}')
    (sound / "generation_config.json").write_text('{"temperature": NaN}')
    (sound / "model.safetensors").write_bytes(b"")
    patterns = ("auto_map", "vocab_size", "tokenizer.json", "unlearn_guard.json: seed", "NaN", "an empty file")
    assert len(refused(sound, *patterns).defects) == 6


def test_a_file_that_changes_after_hashing_is_noticed(sound: Path) -> None:
    intake = open_checkpoint(sound)
    assert_unchanged(intake)
    path = sound / "model.safetensors"
    before, raw = path.stat(), path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # same size, same mtime
    with pytest.raises(CheckpointError, match="changed while it was being judged") as caught:
        assert_unchanged(intake)
    assert "'model.safetensors': found other bytes" in str(caught.value)


def test_files_that_go_or_come_are_noticed(sound: Path) -> None:
    intake = open_checkpoint(sound)
    (sound / "tokenizer.json").unlink()
    (sound / "adapter_config.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        assert_unchanged(intake)
    assert "it is gone" in str(caught.value)
    assert "new files: 'adapter_config.json'" in str(caught.value)


def test_the_manifest_is_read_and_a_malformed_one_is_a_defect(sound: Path, refused) -> None:
    manifest = {"base": "org/base", "method": "npo", "seed": 3, "hyperparameters": {"lr": 1e-5}, "colour": "red"}
    (sound / "unlearn_guard.json").write_text(json.dumps(manifest))
    intake = open_checkpoint(sound)
    assert intake.manifest is not None
    assert (intake.manifest.base, intake.manifest.seed, intake.manifest.suite) == ("org/base", 3, None)
    assert intake.checkpoint.method == "npo"
    assert "'colour'" in intake.notes[0]
    (sound / "unlearn_guard.json").write_text('{"base": 5, "seed": true, "hyperparameters": []}')
    assert len(refused(sound, "base: found 5; expected a text", "seed: found True", "hyperparameters").defects) == 3


def test_the_manifest_is_no_part_of_the_digest(sound: Path) -> None:
    digest = open_checkpoint(sound).checkpoint.digest
    (sound / "unlearn_guard.json").write_text('{"method": "npo"}')
    assert open_checkpoint(sound).checkpoint.digest == digest


def test_an_unreadable_directory_or_file_is_a_checkpoint_error(sound: Path, refused) -> None:
    (sound / "config.json").unlink()
    refused(sound, "config.json: found no such file", "save_pretrained")


def test_files_with_hostile_names_are_escaped(sound: Path) -> None:
    (sound / "a\x1b[2J\n::error::x.bin").write_bytes(b"")
    (note,) = open_checkpoint(sound).notes
    assert note.isprintable()


@pytest.mark.parametrize("name", ["quantize_config.json", "quant_config.json"])
def test_an_older_quantizer_s_recipe_beside_the_config_says_where_to_put_it(sound: Path, refused, name: str) -> None:
    (sound / name).write_text('{"bits": 4}')
    refused(sound, f"Put what {name} holds there", '"quant_method": "gptq"', precision="gptq")
    (sound / name).unlink()
    refused(sound, "the guard quantizes it itself", precision="gptq")
