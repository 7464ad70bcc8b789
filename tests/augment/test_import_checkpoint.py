"""Files as the authors' code writes them, made from golden values: equal images, or one line that says why not."""

import json
import os
import pickle
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file

from augment import files
from augment.import_checkpoint import ImportCheckpointConfig, prepare, run
from generators import checkpoint
from generators.dptn import PRESETS

GOLDEN = Path(__file__).parents[1] / "golden"
MODELS = {"dptn": "dptn_generator", "dptn-ta": "dptn_generator", "patn": "patn_generator"}
State = dict[str, torch.Tensor]


def golden_of(model: str) -> State:
    return load_file(GOLDEN / f"{MODELS[model]}.safetensors")


def state_of(model: str) -> State:
    """As in the authors' files: data-parallel training, and PATN's network inside of another."""
    prefix = "module.model." if model == "patn" else "module."
    golden = golden_of(model)
    return {key.replace("state.", prefix, 1): tensor for key, tensor in golden.items() if key.startswith("state.")}


def write(path: Path, model: str, *, zipped: bool = True) -> Path:
    torch.save(state_of(model), path, _use_new_zipfile_serialization=zipped)
    return path


@pytest.fixture
def dptn(tmp_path):
    """A file of DPTN's authors."""
    return write(tmp_path / "latest_net_G.pth", "dptn")


@torch.no_grad()
def require_golden_images(run_folder: Path, model: str) -> None:
    golden = golden_of(model)
    network = checkpoint.load_generator(run_folder)
    found = network(golden["input.source_image"], golden["input.source_pose"], golden["input.target_pose"])
    torch.testing.assert_close(found, golden["output.fake_target"], atol=1e-5, rtol=0)


# ---- from file to images


@pytest.mark.parametrize("model", MODELS)
def test_the_imported_network_draws_what_the_authors_did(augment, tmp_path, model):
    file = write(tmp_path / "net.pth", model)
    code, out, err = augment("import-checkpoint", file, "--model", model, "--out", tmp_path / "run")
    assert (code, out) == (0, f"{tmp_path / 'run' / 'generator.safetensors'}\n")
    network = checkpoint.load_generator(tmp_path / "run")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert err.startswith(f"{model}: {parameters:,} parameters, image_channels=3, pose_channels=18, width=")
    require_golden_images(tmp_path / "run", model)


@pytest.mark.parametrize("name", ["net.safetensors", "legacy.pth"])
def test_other_containers(tmp_path, name):
    """safetensors, and the pickles that torch wrote before 1.6, when PATN's were made."""
    file = tmp_path / name
    if name == "legacy.pth":
        write(file, "dptn", zipped=False)
    else:
        state = {key: tensor.clone() for key, tensor in state_of("dptn").items()}
        file.write_bytes(safetensors.torch.save(state))
    run(ImportCheckpointConfig("dptn"), file, tmp_path / "run")
    require_golden_images(tmp_path / "run", "dptn")


def test_weights_in_half_precision_become_float32(tmp_path):
    file = tmp_path / "half.pth"
    torch.save({key: tensor.half() for key, tensor in state_of("dptn").items()}, file)
    run(ImportCheckpointConfig("dptn"), file, tmp_path / "run")
    expected = run(ImportCheckpointConfig("dptn"), write(tmp_path / "full.pth", "dptn"), tmp_path / "full")
    found, expected = (load_file(path) for path in (tmp_path / "run" / "generator.safetensors", expected))
    assert all(torch.equal(found[key], expected[key].half().float()) for key in expected)


@pytest.mark.parametrize("content", ["no counters", "one counter for all", "counters of half precision"])
def test_counters_of_batch_norms(augment, tmp_path, content):
    """Torch before 0.4.1 wrote none; nothing that was computed with the published momentum depends on them."""
    state = state_of("patn")
    counters = [key for key in state if key.endswith("num_batches_tracked")]
    for key in counters:
        del state[key]
    match content:
        case "one counter for all":
            state |= dict.fromkeys(counters, torch.tensor(7))
        case "counters of half precision":
            state |= {key: torch.tensor(7).half() for key in counters}
    file = tmp_path / "net.pth"
    torch.save(state, file)
    outcome = augment("import-checkpoint", file, "--model", "patn", "--out", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    require_golden_images(tmp_path / "run", "patn")
    found = load_file(tmp_path / "run" / "generator.safetensors")
    expected = torch.tensor(0 if content == "no counters" else 7)
    values = [tensor for key, tensor in found.items() if key.endswith("num_batches_tracked")]
    assert len(values) == len(counters) > 1
    assert all(value.dtype == torch.int64 and torch.equal(value, expected) for value in values)


def test_heads_are_the_users_to_say(tmp_path):
    golden = load_file(GOLDEN / "dptn_generator_variant.safetensors")
    file = tmp_path / "variant.pth"
    torch.save({key.removeprefix("state."): t for key, t in golden.items() if key.startswith("state.")}, file)
    inputs = [golden[f"input.{name}"] for name in ("source_image", "source_pose", "target_pose")]
    with torch.no_grad():
        right, wrong = (prepare(ImportCheckpointConfig("dptn", heads), file).network(*inputs) for heads in (4, None))
    torch.testing.assert_close(right, golden["output.fake_target"], atol=1e-5, rtol=0)
    assert not torch.allclose(wrong, golden["output.fake_target"], atol=1e-3)


# ---- the run folder


def test_the_run_folder_says_what_was_imported(augment, dptn, tmp_path):
    assert augment("import-checkpoint", dptn, "--model", "dptn-ta", "--heads", 4, "--out", tmp_path / "run").code == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.json", "results.json", "generator.safetensors",
    }  # fmt: skip
    header = checkpoint.read_metadata(tmp_path / "run")
    assert (header["model"], header["preset"], header["config"]["heads"]) == ("dptn-ta", "imported", 4)
    assert (header["trained_on"], header["points_digest"]) == (None, None)
    assert header["imported_from"] == {"file_sha256": files.sha256(dptn)}
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert saved["stage"] == "import-checkpoint"
    assert saved["config"]["file_sha256"] == files.sha256(dptn)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["weights_sha256"] == checkpoint.weights_sha256(tmp_path / "run")


def test_a_second_time_it_is_done_already(augment, dptn, tmp_path):
    command = ("import-checkpoint", dptn, "--model", "dptn", "--out", tmp_path / "run")
    _, path, _ = augment(*command)
    written = (tmp_path / "run" / "generator.safetensors").stat().st_mtime_ns
    assert augment(*command) == (0, path, "already done\n")
    assert (tmp_path / "run" / "generator.safetensors").stat().st_mtime_ns == written
    assert "already done" not in augment(*command, "--force").err
    require_one_line(augment(*command, "--heads", 4), "made with another configuration: network", "--force")


def test_an_import_that_was_killed_is_finished(dptn, tmp_path):
    first = run(ImportCheckpointConfig("dptn"), dptn, tmp_path / "run").read_bytes()
    (tmp_path / "run" / "results.json").unlink()
    (tmp_path / "run" / "generator.safetensors").unlink()
    assert run(ImportCheckpointConfig("dptn"), dptn, tmp_path / "run").read_bytes() == first
    assert (tmp_path / "run" / "results.json").exists()


def test_a_dry_run_checks_and_writes_nothing(augment, dptn, tmp_path):
    command = ("import-checkpoint", dptn, "--model", "dptn", "--out", tmp_path / "run", "--dry-run")
    code, out, err = augment(*command)
    assert (code, err) == (0, "")
    assert out.startswith("dptn: ")
    assert "heads=2" in out
    require_one_line(augment(*command, "--heads", 5), "heads=5")
    assert not (tmp_path / "run").exists()


def test_a_preset_can_be_required(augment, dptn, tmp_path):
    require_one_line(
        augment("import-checkpoint", dptn, "--model", "dptn", "--preset", "market", "--out", tmp_path / "run"),
        f"{dptn}: not the network of --preset market: width=12 instead of 64; leave --preset out",
    )
    assert not (tmp_path / "run").exists()


def test_the_name_of_a_required_preset_is_kept(dptn, tmp_path, monkeypatch):
    monkeypatch.setitem(PRESETS, "market", prepare(ImportCheckpointConfig("dptn"), dptn).network.config)
    run(ImportCheckpointConfig("dptn", preset="market"), dptn, tmp_path / "run")
    assert checkpoint.read_metadata(tmp_path / "run")["preset"] == "market"


def test_its_training_data_is_unknown_so_synthesize_asks(augment, dptn, pedestrians, tmp_path):
    run(ImportCheckpointConfig("dptn"), dptn, tmp_path / "run")
    synthesize = ("synthesize", pedestrians, "--generator", tmp_path / "run", "--out", tmp_path / "x.h5", "--dry-run")
    require_one_line(augment(*synthesize, "--device", "cpu"), "training split (None there", "--foreign-generator")
    assert augment(*synthesize, "--device", "cpu", "--foreign-generator").code == 0


# ---- mistakes: one line, exit code 2, no folder


def require_one_line(outcome, *words):
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("Error: ")
    for word in words:
        assert word in outcome.err


class Evil:
    def __reduce__(self):
        return os.system, ("echo this must not run > executed",)


SPOILT = "decoder0.model.0.bias"


def spoil(path: Path, how: str) -> None:
    """A file that is no checkpoint of DPTN's generator."""
    state = state_of("dptn")
    match how:
        case "truncated":
            write(path, "dptn")
            path.write_bytes(path.read_bytes()[:-1000])
        case "truncated legacy":
            write(path, "dptn", zipped=False)
            path.write_bytes(path.read_bytes()[:-1000])
        case "beginning":
            write(path, "dptn")
            path.write_bytes(path.read_bytes()[:10_000])
        case "empty":
            path.touch()
        case "text":
            path.write_text("no weights")
        case "letters":
            path.write_bytes(b"X\x01\x00\x00\x00\xff.")
        case "pickle of its own":
            path.write_bytes(pickle.dumps({"weight": 1.5}))
        case "code":
            torch.save({"weight": Evil()}, path)
        case "module":
            torch.save(torch.nn.Linear(1, 1), path)
        case "list":
            torch.save([1, 2], path)
        case "wrapped":
            torch.save({"state_dict": state, "epoch": 3}, path)
        case "no entries":
            torch.save({}, path)
        case "other model":
            write(path, "patn")
        case "missing":
            del state["module.block0.model.0.weight"]
            torch.save(state, path)
        case "unknown":
            torch.save(state | {"module.extra.weight": torch.zeros(1)}, path)
        case "nan":
            state["module.decoder0.model.0.bias"][3] = torch.nan
            torch.save(state, path)
        case "integers" | "complex" | "sparse" | "eighth" | "truths" | "meta":
            weight = state[f"module.{SPOILT}"]
            changed = {
                "integers": weight.int(),
                "complex": torch.complex(weight, torch.ones_like(weight)),
                "sparse": weight.to_sparse(),
                "eighth": weight.to(torch.float8_e4m3fn),
                "truths": weight > 0,
                "meta": weight.to("meta"),
            }
            torch.save(state | {f"module.{SPOILT}": changed[how]}, path)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", ["not a whole checkpoint", "copy it again"]),
        ("truncated legacy", ["not a whole checkpoint", "copy it again"]),
        ("beginning", ["not a whole checkpoint (OSError)", "copy it again"]),
        ("letters", ["not a whole checkpoint", "copy it again"]),
        ("pickle of its own", ["not a whole checkpoint", "copy it again"]),
        ("empty", ["not a whole checkpoint", "copy it again"]),
        ("text", ["not a whole checkpoint"]),
        ("code", ["posix.system", "could run code", "torch.save(network.state_dict(), FILE)"]),
        ("module", ["torch.nn.modules.linear.Linear", "could run code"]),
        ("list", ["expected a state dict", "found a list"]),
        ("wrapped", ["expected a state dict", "found state_dict (dict), epoch (int)", "save its weights alone"]),
        ("no entries", ["holds no tensors"]),
        ("other model", ["no DPTN generator", "att.0.conv_block_stream1", "check --model"]),
        ("missing", ["1 missing (block0.model.0.weight)"]),
        ("unknown", ["1 unknown (extra.weight)"]),
        ("nan", ["1 tensors hold values that are not finite (module.decoder0.model.0.bias)"]),
        ("integers", ["1 tensors are not of floating-point numbers", f"(module.{SPOILT}: int32)", "give the file"]),
        ("complex", [f"(module.{SPOILT}: complex64)"]),
        pytest.param(
            "sparse", [f"(module.{SPOILT}: sparse_coo, float32)"], marks=pytest.mark.filterwarnings("ignore:Sparse")
        ),
        ("eighth", [f"(module.{SPOILT}: float8_e4m3fn)"]),
        ("truths", [f"(module.{SPOILT}: bool)"]),
        ("meta", [f"(module.{SPOILT}: meta, float32)"]),
    ],
)
def test_a_file_that_cannot_be_imported(augment, tmp_path, monkeypatch, how, words):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "net.pth"
    spoil(file, how)
    outcome = augment("import-checkpoint", file, "--model", "dptn", "--out", tmp_path / "run")
    require_one_line(outcome, f"Error: {file}: ", *words)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "executed").exists()


def test_a_complex_counter(augment, tmp_path):
    state = state_of("patn")
    counter = next(key for key in state if key.endswith("num_batches_tracked"))
    torch.save(state | {counter: torch.tensor(1j)}, tmp_path / "net.pth")
    outcome = augment("import-checkpoint", tmp_path / "net.pth", "--model", "patn", "--out", tmp_path / "run")
    require_one_line(outcome, "1 tensors", f"({counter}: complex64)")


def test_a_file_that_cannot_be_opened(tmp_path):
    """The words are the system's, for it is not the content that is wrong."""
    for name in ("no.pth", "no.safetensors"):
        with pytest.raises(FileNotFoundError, match=name):
            prepare(ImportCheckpointConfig("dptn"), tmp_path / name)


def test_a_damaged_safetensors_file(augment, tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_bytes(safetensors.torch.save({"weight": torch.zeros(9)})[:-1])
    outcome = augment("import-checkpoint", file, "--model", "dptn", "--out", tmp_path / "run")
    require_one_line(outcome, f"{file}: not a whole checkpoint (SafetensorError)")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "patn"], ["not a PATN generator", "block0.model.0.bias", "check --model"]),
        (["--model", "dptn", "--heads", "5"], ["heads=5 does not divide the 48 channels", "--heads"]),
        (["--model", "dptn", "--heads", "0"], ["--heads:", "0"]),
        (["--model", "patn", "--heads", "2"], ["--heads 2: PATN has no attention heads"]),
        (["--model", "pg2"], ["--model:", "pg2", "dptn-ta"]),
        ([], ["--model: missing"]),
    ],
)
def test_other_options_than_the_file_needs(augment, dptn, tmp_path, options, words):
    require_one_line(augment("import-checkpoint", dptn, "--out", tmp_path / "run", *options), *words)
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there(augment, tmp_path):
    outcome = augment("import-checkpoint", tmp_path / "no.pth", "--model", "dptn", "--out", tmp_path / "run")
    require_one_line(outcome, "FILE:", "no.pth")


def test_without_the_command_line_models_and_presets_are_checked_too(dptn, tmp_path):
    with pytest.raises(ValueError, match="--model pg2: expected one of patn, dptn, dptn-ta"):
        run(ImportCheckpointConfig("pg2"), dptn, tmp_path / "run")
    with pytest.raises(ValueError, match="--preset huge: expected one of market"):
        run(ImportCheckpointConfig("dptn", preset="huge"), dptn, tmp_path / "run")
