"""Mistakes say what to do; withheld identities are watched, and foreign or broken weights never taken."""

import csv
from dataclasses import replace

import pytest

from augment import train_generator
from augment.data.read import read_data
from augment.train_generator import prepare, run
from generators import checkpoint
from generators.registry import create_generator, create_recipe
from tests.small_generators import CONFIG, TRAINING, losses, trained

# Withheld identities


def test_withheld_identities_are_watched_and_the_best_weights_kept(data, tmp_path):
    config = replace(trained(average_images=0), validation=2, sample_images=8, tensorboard=True)
    job = prepare(config, data)
    assert len({record.pid for record in job.withheld}) == len({record.pid for record in job.records}) == 2
    assert not {record.pid for record in job.withheld} & {record.pid for record in job.records}
    run(config, data, tmp_path / "run", device="cpu")
    with (tmp_path / "run" / "validation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["images"] for row in rows] == ["8", "16", "24"]
    best = max(rows, key=lambda row: float(row["ssim"]))
    kept = tmp_path / "run" / "best.safetensors"
    assert checkpoint.read_metadata(kept)["images_seen"] == int(best["images"])
    assert (tmp_path / "run" / "samples-00000008.png").exists()
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_weights_that_are_not_finite_are_never_the_best(data, tmp_path):
    config = trained(learning_rate=1e30, clip=0.0, schedule="constant", decay=0.0)
    with pytest.raises(ValueError, match="is not finite after"):
        run(replace(config, validation=2, sample_images=4), data, tmp_path / "run", device="cpu")
    best = tmp_path / "run" / "best.safetensors"
    if best.exists():
        assert all(value.isfinite().all() for value in checkpoint.load_generator(best).state_dict().values())
    assert losses(tmp_path / "run"), "the rows that show how it came to that"


def test_nobody_left_to_train_on(data, tmp_path):
    with pytest.raises(ValueError, match=r"4 identities for validation, but only 4 have key points.*--validation"):
        prepare(replace(CONFIG, validation=4), data)


def test_withheld_identities_without_a_pair_are_refused(data, tmp_path):
    dataset = read_data(data)
    lines = ["path,pid,camid,split", *(f"{r.path},{r.pid},{i},train" for i, r in enumerate(dataset.train))]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match="2 identities withheld have no two images in one camera"):
        prepare(replace(CONFIG, validation=2), tmp_path / "manifest.csv", dataset.annotations[0])


# Weights to start from


@pytest.mark.parametrize(
    ("model", "settings", "named"),
    [
        ("patn", {"width": 8}, r"config\.max_width \(None there, 16 here\)"),
        ("dptn", {"width": 4, "max_width": 16}, r"config\.width \(4 there, 8 here\)"),
    ],
)
def test_weights_of_another_network_are_refused(data, tmp_path, model, settings, named):
    network = create_generator(model, "tiny", **settings)
    (tmp_path / "other.safetensors").write_bytes(checkpoint.generator_to_bytes(model, "tiny", network, {}))
    with pytest.raises(ValueError, match=rf"--init .*other\.safetensors: .*{named}"):
        run(replace(CONFIG, init=tmp_path / "other.safetensors"), data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_split_are_refused_unless_it_is_said(data, tmp_path):
    first = run(CONFIG, data, tmp_path / "first", device="cpu")
    again = replace(CONFIG, init=first)
    assert prepare(again, data).ancestry["trained_on"] == checkpoint.read_metadata(first)["trained_on"]

    other = tmp_path / "other.safetensors"
    network = checkpoint.load_generator(first)
    other.write_bytes(checkpoint.generator_to_bytes("dptn", "tiny", network, {"trained_on": "0" * 64}))
    with pytest.raises(ValueError, match=r"--init .*training split \(000000000000\.\.\. there, .*--foreign-init"):
        prepare(replace(CONFIG, init=other), data)
    made = run(replace(CONFIG, init=other, foreign_init=True), data, tmp_path / "second", device="cpu")
    assert checkpoint.read_metadata(made)["initialised_from"]["trained_on"] == "0" * 64


# Data, options, losses


def test_no_pair_in_one_camera(data, tmp_path):
    dataset = read_data(data)
    lines = ["path,pid,camid,split", *(f"{r.path},{r.pid},{i},train" for i, r in enumerate(dataset.train))]
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"in one camera \(try --any-camera\)"):
        train_generator.prepare(CONFIG, tmp_path / "manifest.csv", dataset.annotations[0])
    job = train_generator.prepare(replace(CONFIG, same_camera=False), tmp_path / "manifest.csv", dataset.annotations[0])
    assert len(job.pairs) > 0


def test_images_that_the_network_cannot_take(data):
    deep = create_recipe("dptn", "tiny", network={"layers": 6}, training=TRAINING)
    with pytest.raises(ValueError, match="images of 64x32 pixels: dptn needs sides that 64 divides"):
        prepare(replace(CONFIG, recipe=deep), data)


def test_perceptual_losses_without_vgg_weights(data, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    config = replace(CONFIG, recipe=create_recipe("dptn", "market", training=TRAINING))
    with pytest.raises(ValueError, match=r"(?i)vgg19"):
        run(config, data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_training_by_name(data, tmp_path):
    config = trained(learning_rate=1e30, clip=0.0, schedule="constant", decay=0.0)
    with pytest.raises(ValueError, match=r".*reconstruction.* is not finite after \d+ images"):
        run(config, data, tmp_path / "run", device="cpu")
    assert not (tmp_path / "run" / "generator.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"foreign_init": True}, "--foreign-init: there are no weights to start from"),
        ({"vgg": "vgg.pth"}, "--vgg: no loss of this training reads those weights"),
        ({"pairs": "pairs.csv"}, "--same-camera: the list of --pairs says which images pair"),
        ({"validation": 1, "same_camera": True}, None),
    ],
)
def test_options_without_effect_are_refused(data, options, words):
    if words is None:  # here they have one
        assert prepare(replace(CONFIG, **options), data).withheld
        return
    with pytest.raises(ValueError, match=words):
        prepare(replace(CONFIG, **options), data)
