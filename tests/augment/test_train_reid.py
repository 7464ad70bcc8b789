"""The stage on a tiny Market-1501 root: results, resumption, and the inputs it refuses."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from augment import evaluate_reid, files, store
from augment.data.read import read_data
from augment.evaluate_reid import EvaluateReidConfig
from augment.interruption import Preempted
from augment.plan import Plan
from augment.train_reid import TrainReidConfig, prepare, run
from reid.mixing import MixPolicy
from reid.training import ReidConfig
from tests.reference.noise import people

SMALL = TrainReidConfig(ReidConfig(height=32, width=16, epochs=2, batch=16, learning_rate=1e-3), MixPolicy(ratio=0.5))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("market")
    everyone = people(identities=8, per_identity=9, cameras=3, height=32, width=16)
    for index in range(len(everyone)):
        pid, camid = everyone.identity(index), everyone.camera(index)
        folder = "bounding_box_train" if pid < 11 else "query" if index % 9 == 0 else "bounding_box_test"
        (root / folder).mkdir(exist_ok=True)
        image = Image.fromarray(everyone.image(index))
        image.save(root / folder / f"{pid:04d}_c{camid + 1}s1_{index:06d}_00.jpg")
    return root


def synthesize(path, data, *, files=None, data_digest=None):
    """A set with one image of every training image, as the stage before would leave it."""
    dataset = read_data(data)
    records = sorted(dataset.train, key=lambda record: record.name)
    index = np.arange(len(records))
    plan = Plan(
        files=tuple(files or [record.name for record in records]),
        poses=np.zeros((len(records), 18, 2), np.float32),
        pid=np.array([record.pid for record in records]),
        camid=np.array([record.camid for record in records]),
        source_index=index,
        target_index=index[::-1].copy(),
        seed=index.astype(np.uint64),
    )
    provenance = {
        "tool": "test",
        "config": {},
        "generator": {"model": "noise"},
        "versions": {},
        "data_digest": data_digest or dataset.digest,
    }
    attributes = store.begin(store.shard_folder(path), plan, provenance)
    pixels = np.stack([people(height=32, width=16).image(i) for i in range(len(records))])
    store.write_shard(store.shard_folder(path), 0, plan, pixels, attributes)
    return store.merge(store.shard_folder(path), plan, path, attributes)


@pytest.fixture(scope="module")
def synthetic(data, tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("sets") / "synthetic.h5", data)


def test_results(data, synthetic, tmp_path):
    seen = []
    path = run(SMALL, data, tmp_path / "run", [synthetic], device="cpu", progress=lambda *counts: seen.append(counts))
    found = json.loads(path.read_text())
    assert path == tmp_path / "run" / "results.json"
    assert 0 < found["mINP"] <= 1
    assert 0 < found["mAP"] <= 1
    assert (found["num_query"], found["num_gallery"]) == (4, 32)
    assert (found["iterations"], found["images_seen"]) == (2 * 3, 2 * 3 * 16)
    assert seen[-1] == (96, 96)
    assert found["provenance"]["synthetic"][0]["images"] == 36
    assert found["config"]["mixing"]["ratio"] == 0.5
    assert found["provenance"]["devices"] == ["cpu"]
    with (tmp_path / "run" / "epochs.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    written = path.stat().st_mtime_ns
    assert run(SMALL, data, tmp_path / "run", [synthetic], device="cpu").stat().st_mtime_ns == written, "already done"


def test_an_interrupted_run_ends_as_an_uninterrupted_one(data, synthetic, tmp_path):
    def interrupt(seen, total):
        if seen > total / 2:
            raise Preempted

    whole = json.loads(run(SMALL, data, tmp_path / "whole", [synthetic], device="cpu").read_text())
    with pytest.raises(Preempted):
        run(SMALL, data, tmp_path / "broken", [synthetic], device="cpu", progress=interrupt)
    assert not (tmp_path / "broken" / "results.json").exists()
    log = []
    resumed = json.loads(run(SMALL, data, tmp_path / "broken", [synthetic], device="cpu", log=log.append).read_text())
    assert "continuing after epoch 1 of 2" in log
    for one in (whole, resumed):
        del one["seconds"], one["provenance"]["checkpoint_sha256"]
    assert resumed == whole
    with (tmp_path / "broken" / "epochs.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_a_kill_between_row_and_checkpoint_leaves_no_row_twice(data, tmp_path, monkeypatch):
    def die(path, data):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("augment.reid_training._publish", die)
        with pytest.raises(KeyboardInterrupt):
            run(SMALL, data, tmp_path / "run", device="cpu")
    run(SMALL, data, tmp_path / "run", device="cpu")
    with (tmp_path / "run" / "epochs.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_matched_iterations(data, synthetic, tmp_path):
    config = replace(SMALL, match="iterations", training=replace(SMALL.training, epochs=1))
    found = json.loads(run(config, data, tmp_path / "run", [synthetic], device="cpu").read_text())
    assert found["iterations"] == 36 // 16


def test_another_configuration_is_refused_by_name(data, tmp_path):
    config = replace(SMALL, training=replace(SMALL.training, epochs=1))
    run(config, data, tmp_path / "run", device="cpu")
    with pytest.raises(ValueError, match=r"erase \(0\.0 there, 0\.5 asked\)"):
        run(replace(config, training=replace(config.training, erase=0.5)), data, tmp_path / "run", device="cpu")
    run(replace(config, training=replace(config.training, workers=1)), data, tmp_path / "run", device="cpu")


def test_a_set_of_another_split_is_refused(data, tmp_path):
    other = synthesize(tmp_path / "other.h5", data, data_digest="0" * 64)
    with pytest.raises(ValueError, match=r"other\.h5: its provenance contradicts this data: data_digest"):
        run(SMALL, data, tmp_path / "run", [other], device="cpu")


def test_a_set_with_test_poses_is_refused(data, tmp_path):
    dataset = read_data(data)
    names = [record.name for record in dataset.gallery] + [record.name for record in dataset.query]
    leaking = synthesize(tmp_path / "leaking.h5", data, files=names)
    with pytest.raises(ValueError, match=r"leaking\.h5: 4 identities of query or gallery"):
        run(SMALL, data, tmp_path / "run", [leaking], device="cpu")


def test_a_root_without_queries_is_refused_before_training(data, tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "bounding_box_train").symlink_to(data / "bounding_box_train")
    with pytest.raises(ValueError, match="has no queries"):
        run(SMALL, tmp_path / "root", tmp_path / "run", device="cpu")


def test_duplicates_and_reencoding(data, synthetic, tmp_path):
    """The control differs from the mix in its pixels alone; the compression is that of the real files."""
    mixed = prepare(SMALL, data, [synthetic])
    control = prepare(replace(SMALL, mixing=replace(SMALL.mixing, control="real-duplicated")), data, [synthetic])
    encoded = prepare(replace(SMALL, jpeg="match"), data, [synthetic])
    flags = mixed.images.synthetic
    for job in (control, encoded):
        assert job.images.synthetic.tolist() == flags.tolist()
        assert job.images.item_pids.tolist() == mixed.images.item_pids.tolist()
    assert str(mixed) == "36 real and 18 synthetic images of 4 identities"
    assert str(control) == "36 real and 18 duplicated images of 4 identities"
    assert "(JPEG quality 75, chroma 4:2:0)" in str(encoded)
    real = [control.images[index][0] for index in np.flatnonzero(~flags).tolist()]
    for index in np.flatnonzero(flags).tolist():
        assert any(torch.equal(control.images[index][0], image) for image in real)
        assert not torch.equal(encoded.images[index][0], mixed.images[index][0])

    config = replace(SMALL, training=replace(SMALL.training, epochs=1))
    run(config, data, tmp_path / "run", [synthetic], device="cpu")
    with pytest.raises(ValueError, match=r"jpeg \(None there, \{'quality': 75, 'subsampling': 2\} asked\)"):
        run(replace(config, jpeg="match"), data, tmp_path / "run", [synthetic], device="cpu")


def test_replaced_images_keep_the_counts(data, synthetic):
    job = prepare(replace(SMALL, mixing=MixPolicy(0.0, 0.5, replace=True)), data, [synthetic])
    assert str(job) == "16 real and 20 synthetic images of 4 identities"  # 4 of 9: half of 9 is rounded to even
    assert job.provenance["regime"] == "G-full"


def test_triplets_in_the_stage(data, synthetic, tmp_path):
    training = replace(SMALL.training, loss="triplet", instances=4, quota=0.25, quota_schedule="ramp")
    found = json.loads(
        run(
            replace(SMALL, training=training, recipe="bot"), data, tmp_path / "run", [synthetic], device="cpu"
        ).read_text()
    )
    assert found["config"]["recipe"] == "bot"
    assert (found["config"]["training"]["init"], found["config"]["training"]["loss"]) == ("random", "triplet")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert saved["loss"] == "triplet"
    assert "recipe" not in saved


def test_folders_of_earlier_versions_stay_valid(data, tmp_path):
    run(SMALL, data, tmp_path / "run", device="cpu")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    assert set(saved) == EARLIER
    log = []
    run(replace(SMALL, recipe="resnet50"), data, tmp_path / "run", device="cpu", log=log.append)
    assert log == ["already done"]


EARLIER = {
    "model", "height", "width", "epochs", "batch", "epoch_images", "quota", "optimiser", "learning_rate",
    "weight_decay", "schedule", "steps", "gamma", "classifier_epochs", "label_smoothing", "synthetic_smoothing",
    "synthetic_weight", "flip", "pad", "erase", "seed", "precision", "channels_last", "mixing_ratio", "mixing_portion",
    "mixing_seed", "match", "metric", "data_digest", "test_digest", "init_sha256", "synthetic_sha256",
}  # fmt: skip


def test_another_data_set_is_searched(data, pedestrians, tmp_path):
    """People of the two sets have the same numbers; results keep those of the set that is searched."""
    log = []
    other = read_data(pedestrians)
    path = run(
        replace(SMALL, mixing=MixPolicy(0.0)), data, tmp_path / "run", test=pedestrians, device="cpu", log=log.append
    )
    found = files.read_json(path)
    assert found["per_query"]["pid"] == [record.pid for record in other.query]
    assert found["per_query"]["camid"] == [record.camid for record in other.query]
    assert found["num_gallery"] == len(other.gallery)
    assert found["provenance"]["data_digest"] == read_data(data).digest
    assert found["provenance"]["test_digest"] == other.test_digest
    assert any("identities of query and gallery are shifted" in line for line in log)
    again = evaluate_reid.run(EvaluateReidConfig(), pedestrians, tmp_path / "run", device="cpu")
    assert again["columns"]["as they are"]["mAP"] == found["mAP"]
    with pytest.raises(ValueError, match=r"another configuration: test_digest"):
        run(replace(SMALL, mixing=MixPolicy(0.0)), data, tmp_path / "run", device="cpu")


def test_the_order_of_a_manifest_changes_no_score(data, tmp_path):
    dataset = read_data(data)
    splits = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    rng = np.random.default_rng(1)
    lines = [
        f"{record.path},{record.pid},{split},{record.camid}"
        for split, records in splits.items()
        for record in rng.permutation(np.asarray(records, object)).tolist()
    ]
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("\n".join(["path,pid,split,camid", *lines]) + "\n", encoding="utf-8")
    config = replace(SMALL, training=replace(SMALL.training, epochs=1), mixing=MixPolicy(ratio=0.0))
    first, second = (
        files.read_json(run(config, source, tmp_path / str(number), device="cpu"))
        for number, source in enumerate((data, shuffled))
    )
    assert second["mAP"] == first["mAP"]
    assert sorted(zip(second["per_query"]["pid"], second["per_query"]["ap"], strict=True)) == sorted(
        zip(first["per_query"]["pid"], first["per_query"]["ap"], strict=True)
    )
