"""The stage on procedural pedestrians: numbers that mean what they say, computed once, from the right inputs only."""

import errno
import fcntl
import os
import shutil
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from augment import cli, cross_fitting, files, score_columns, scoring, store, train_generator, training_log, validation
from augment.data import keypoints, posemaps
from augment.data.images import read_image
from augment.data.pedestrians import PedestriansConfig, make_data
from augment.data.read import read_data
from augment.interruption import Preempted
from augment.plan import UNKNOWN, Plan
from augment.pose_estimation import WEIGHTS
from augment.score_columns import find_sources, pose_column
from augment.scoring import JUDGES, NAMES, ScoreConfig, prepare, run, table
from augment.train_generator import TrainGeneratorConfig
from generators import criticism
from generators.registry import create_recipe
from generators.tensors import from_uint8
from reid.consistency import left_out_margin
from tests.command_line import caller
from tests.killing import die, in_child
from tests.reference import prototypes as slow

SIZE = (64, 32)
TRAINING = replace(JUDGES, height=64, width=32, epochs=30, batch=8, learning_rate=3e-3, weight_decay=0.0)
CONFIG = ScoreConfig(training=TRAINING, batch=16)
PIXEL_SCORES = ScoreConfig(("source_l1", "sharpness"))
FEATURES = ("identity_similarity", "identity_margin", "source_distance")
COPY, BLURRED, WRONG = 0, 1, 2


class Colours(nn.Module):
    """A network that tells clothes apart after a second of training, where OSNet takes minutes."""

    def __init__(self, name, num_classes):
        super().__init__()
        layers = nn.AdaptiveAvgPool2d((8, 4)), nn.Flatten(), nn.BatchNorm1d(96), nn.Linear(96, 24), nn.BatchNorm1d(24)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(24, num_classes)

    def forward(self, images):
        features = self.features(images)
        return self.classifier(features) if self.training else features


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("reid.torchreid_api.build_model", Colours)
        patch.setattr(score_columns, "ROWS", 50)
        patch.setattr(torch.hub, "get_dir", lambda: "/nonexistent")
        patch.setattr(training_log, "STEPS", 2)
        patch.setattr(validation, "PAIRS", 2)
        patch.setattr(validation, "SHEET_PAIRS", 2)
        patch.setattr(train_generator, "SHEET_PAIRS", 2)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    config = PedestriansConfig(identities=16, test_identities=2, cameras=3, per_camera=2, size=SIZE, seed=5)
    return make_data(config, tmp_path_factory.mktemp("pedestrians") / "data")


def write(path, data, images=None, weights=None, **changes):
    """A set with three rows a training image: a copy of it, a blurred copy, and somebody in other clothes."""
    dataset = read_data(data)
    records = sorted(dataset.train, key=lambda record: record.name)
    points = keypoints.dataset_points(dataset)
    pixels = np.stack([read_image(record.path) for record in records])
    pids = np.array([record.pid for record in records])
    rng = np.random.default_rng(0)
    outfit = (pids - 1) // 8  # of four training identities each
    other = np.array([rng.choice(np.flatnonzero(outfit != own)) for own in outfit])
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 1.5) for image in pixels])
    made = np.stack([pixels, blurred, pixels[other]], axis=1).reshape(-1, *SIZE, 3) if images is None else images
    source = np.repeat(np.arange(len(records)), 3)
    columns = {
        "files": tuple(record.name for record in records),
        "poses": keypoints.stack(records, points),
        "pid": pids[source],
        "camid": np.array([record.camid for record in records])[source],
        "source_index": source,
        "target_index": np.where(np.arange(len(source)) % 7 == 3, UNKNOWN, source[::-1]),
        "seed": np.arange(len(source)).astype(np.uint64),
    }
    provenance = {
        "tool": "test",
        "config": {},
        "generator": {"model": "none", "weights_sha256": weights},
        "versions": {},
        "data_digest": dataset.digest,
        "points_digest": "",
        "pose_estimator": "test",
    }
    plan = Plan(**columns | {key: value for key, value in changes.items() if key in columns})
    stated = provenance | {key: value for key, value in changes.items() if key not in columns}
    return store.write_set(path, plan, stated, [made])


@pytest.fixture(scope="module")
def judges(data, tmp_path_factory):
    """A trained pair."""
    folder = tmp_path_factory.mktemp("judges") / "run"
    dataset = read_data(data)
    cross_fitting.train(cross_fitting.prepare(folder, dataset, TRAINING), dataset, device="cpu")
    return folder


@pytest.fixture(scope="module")
def base(data, tmp_path_factory):
    return write(tmp_path_factory.mktemp("base") / "x.h5", data)


@pytest.fixture
def synthetic(base, tmp_path):
    """A fresh copy of the set, without scores."""
    (tmp_path / "x.h5").write_bytes(base.read_bytes())
    return tmp_path / "x.h5"


def values(path):
    return {name: score.values for name, score in store.Reader(path).scores.items()}


# ---- what the numbers mean


@pytest.fixture(scope="module")
def scored(base, data, judges):
    run(CONFIG, base, data, reid=judges, device="cpu")
    return {name: column.reshape(-1, 3) for name, column in values(base).items()}


def test_a_copy_is_no_distance_from_its_source_and_a_blurred_one_is_less_sharp(scored):
    assert (scored["source_l1"][:, COPY] == 0).all()
    assert np.abs(scored["source_distance"][:, COPY]).max() < 1e-5
    assert (scored["source_l1"][:, WRONG] > scored["source_l1"][:, BLURRED]).mean() > 0.9
    assert (scored["source_distance"][:, WRONG] > scored["source_distance"][:, BLURRED]).mean() > 0.9
    assert (scored["sharpness"][:, BLURRED] < 0.5 * scored["sharpness"][:, COPY]).all()


def test_people_resemble_their_own_prototypes_more_than_somebody_elses(scored):
    right, wrong = scored["identity_margin"][:, COPY], scored["identity_margin"][:, WRONG]
    assert np.mean(right > wrong) > 0.8
    assert right.mean() > wrong.mean() + 0.3
    assert np.mean(right > 0) > np.mean(wrong > 0) + 0.2
    assert scored["identity_similarity"][:, COPY].mean() > scored["identity_similarity"][:, WRONG].mean()


def test_pixel_distance_by_hand(base, data, scored):
    reader = store.Reader(base)
    named = {record.name: record.path for record in read_data(data).train}
    for row in (1, 50, len(reader) - 1):
        source = read_image(named[reader.source_name(row)]).astype(float)
        expected = np.abs(reader.image(row).astype(float) - source).mean() / 255
        assert scored["source_l1"].reshape(-1)[row] == pytest.approx(expected, rel=1e-5)


def test_each_identity_is_judged_by_the_network_that_has_not_seen_it(base, data, judges, scored):
    """The columns again, image by image and identity by identity."""
    reader, dataset = store.Reader(base), read_data(data)
    pair = cross_fitting.prepare(judges, dataset, TRAINING)
    for network in (0, 1):
        seen = {record.pid for record in pair.people(network)}
        judged = pair.people(1 - network)
        assert not seen & {record.pid for record in judged}
        model = pair.load(network, "cpu")

        def feature(pixels, model=model):
            return pair.features(model, Single(pixels), "cpu", 1)[0].astype(float)

        real = np.stack([feature(read_image(record.path)) for record in judged])
        pids = [record.pid for record in judged]
        rows = np.flatnonzero(np.isin(reader.pid, pids))
        for row in rows[:: len(rows) // 3].tolist():
            found = feature(reader.image(row))
            source = [record.name for record in judged].index(reader.source_name(row))
            similarity, margin = slow.without_source(found, reader.identity(row), real, pids, source)
            distance = 1 - float(slow.unit(found) @ slow.unit(real[source]))
            got = [scored[name].reshape(-1)[row] for name in FEATURES]
            np.testing.assert_allclose(got, [similarity, margin, distance], atol=1e-4)


def test_a_copy_is_judged_as_its_source_is_without_itself(base, data, judges, scored):
    reader, pair = store.Reader(base), cross_fitting.prepare(judges, read_data(data), TRAINING)
    for network in (0, 1):
        judged = pair.people(1 - network)
        source = cross_fitting.file_source(judged)
        features = pair.features(pair.load(network, "cpu"), source, "cpu", 8)
        left_out = left_out_margin(features, np.array([record.pid for record in judged]))
        margin = dict(zip([record.name for record in judged], left_out.tolist(), strict=True))
        copies = [row for row in range(COPY, len(reader), 3) if reader.source_name(row) in margin]
        expected = [margin[reader.source_name(row)] for row in copies]
        np.testing.assert_allclose(scored["identity_margin"].reshape(-1)[copies], expected, atol=1e-4)


def test_images_of_an_only_image_have_no_value_and_are_counted(data, tmp_path):
    few = tmp_path / "data"
    shutil.copytree(data, few)
    person = min(record.pid for record in read_data(few).train)
    for record in [record for record in read_data(few).train if record.pid == person][1:]:
        record.path.unlink()
    path, log = write(tmp_path / "x.h5", few), []
    config = replace(CONFIG, scores=FEATURES, training=replace(TRAINING, epochs=1))
    run(config, path, few, reid=tmp_path / "judges", device="cpu", log=log.append)
    alone = store.Reader(path).pid == person
    assert alone.sum() == 3
    for name in FEATURES:
        np.testing.assert_array_equal(np.isnan(values(path)[name]), alone & (name != "source_distance"), err_msg=name)
    assert "3 images without a value: their source is the only real image of its identity" in log


class Single:
    """One image as a source."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return 1

    def image(self, index):
        return self.pixels

    def identity(self, index):
        return 0

    def camera(self, index):
        return 0


def test_the_test_of_the_judges_is_right_and_said(data, judges):
    lines, dataset = [], read_data(data)
    pair = cross_fitting.prepare(judges, dataset, TRAINING)
    results = cross_fitting.train(pair, dataset, device="cpu", log=lines.append)
    for network, (found, said) in enumerate(zip(results["networks"], lines, strict=True)):
        test, judged = found["held_out"], pair.people(1 - network)
        images = cross_fitting.file_source(judged)
        features = pair.features(pair.load(network, "cpu"), images, "cpu", 8)
        margins = slow.left_out_margin(features.astype(float), np.array([record.pid for record in judged]))
        assert test["images"] == len(judged)
        assert test["rank1"] == pytest.approx(np.mean(margins > 0), abs=1.5 / len(judged))
        assert test["margin"] == pytest.approx(margins.mean(), abs=1e-4)
        assert found["trained_on"]["identities"] == test["identities"] == 8
        assert f"{test['rank1']:.1%} are nearest to the right one (by chance 12.5%)" in said
    assert np.mean([network["held_out"]["rank1"] for network in results["networks"]]) > 0.2


@pytest.mark.parametrize(("rank1", "warned"), [(0.24, True), (0.25, False), (None, True)])
def test_judges_near_chance_are_warned_of_whenever_their_columns_are_asked_for(
    synthetic, data, judges, monkeypatch, rank1, warned
):
    train = cross_fitting.train

    def pretending(*arguments, **options):
        results = train(*arguments, **options)
        results["networks"][1]["held_out"]["rank1"] = rank1
        results["networks"][0]["held_out"]["rank1"] = 1.0
        return results

    monkeypatch.setattr(cross_fitting, "train", pretending)
    config = replace(CONFIG, scores=("identity_margin", "sharpness"))
    for _ in range(2):
        log = []
        run(config, synthetic, data, reid=judges, device="cpu", log=log.append)
        assert log[-1].startswith("warning: identity_margin: hardly better than chance") == warned, log
    assert log[-2 if warned else -1] == "already done"
    said = store.Reader(synthetic).scores
    assert said["identity_margin"].provenance["judges"] == [
        {"rank1": 1.0, "chance": 0.125}, {"rank1": rank1, "chance": 0.125}
    ]  # fmt: skip
    assert "judges" not in said["sharpness"].provenance


# ---- computed once, from anywhere


def count_passes(monkeypatch):
    passes = []
    for name in ("pixel_columns", "identity_columns"):
        function = getattr(scoring, name)

        def counted(*arguments, name=name, function=function, **options):
            passes.append(name)
            return function(*arguments, **options)

        monkeypatch.setattr(scoring, name, counted)
    return passes


def test_only_what_is_missing_is_computed(synthetic, data, judges, monkeypatch):
    passes, log = count_passes(monkeypatch), []
    run(ScoreConfig(("sharpness",)), synthetic, data, device="cpu")
    before = store.Reader(synthetic).scores["sharpness"]
    run(CONFIG, synthetic, data, reid=judges, device="cpu", log=log.append)
    assert passes == ["pixel_columns", "pixel_columns", "identity_columns"]
    assert store.Reader(synthetic).scores["sharpness"].provenance == before.provenance
    assert set(values(synthetic)) == {*FEATURES, "source_l1", "sharpness"}
    assert [line.split(":")[1].strip() for line in log if "not computed" in line] == ["discriminator", "pose_agreement"]
    log.clear()
    run(CONFIG, synthetic, data, reid=judges, device="cpu", log=log.append)
    assert "already done" in log
    assert len(passes) == 3
    run(PIXEL_SCORES, synthetic, data, device="cpu", force=True)
    assert len(passes) == 4


def test_columns_are_computed_again_by_other_networks_but_not_for_other_versions(
    synthetic, data, judges, tmp_path, monkeypatch
):
    passes = count_passes(monkeypatch)
    config = replace(CONFIG, scores=("identity_margin",))
    run(config, synthetic, data, reid=judges, device="cpu")
    monkeypatch.setattr("augment.runs.versions", lambda: {"torch": "another"})
    run(config, synthetic, data, reid=judges, device="cpu")
    assert passes == ["identity_columns"]
    first = values(synthetic)["identity_margin"]
    other = replace(config, training=replace(TRAINING, epochs=1, seed=1))
    run(other, synthetic, data, reid=tmp_path / "other", device="cpu")
    assert passes == ["identity_columns"] * 2
    assert not np.array_equal(first, values(synthetic)["identity_margin"])
    said = store.Reader(synthetic).scores["identity_margin"].provenance
    expected = [files.sha256(tmp_path / "other" / f"fold-{network}.safetensors") for network in (0, 1)]
    assert said["reid"] == {
        "model": "osnet_x0_25", "height": 64, "width": 32, "seed": 1, "networks_sha256": expected
    }  # fmt: skip


def test_batch_and_blocks_move_nothing_but_the_last_digits(synthetic, data, judges, scored, monkeypatch):
    monkeypatch.setattr(score_columns, "ROWS", 7)
    run(replace(CONFIG, batch=5), synthetic, data, reid=judges, device="cpu")
    for name, column in values(synthetic).items():
        np.testing.assert_allclose(column, scored[name].reshape(-1), atol=1e-4, err_msg=name)


def test_a_kill_keeps_the_columns_that_were_whole(synthetic, data, judges, scored, monkeypatch):
    def killed():
        monkeypatch.setattr(scoring, "identity_columns", lambda *arguments, **options: die())
        run(CONFIG, synthetic, data, reid=judges, device="cpu")

    assert in_child(killed) == -9
    assert set(values(synthetic)) == {"source_l1", "sharpness"}
    run(CONFIG, synthetic, data, reid=judges, device="cpu")
    for name, column in values(synthetic).items():
        np.testing.assert_allclose(column, scored[name].reshape(-1), atol=1e-6, err_msg=name)


def test_sigterm_ends_a_pass(synthetic, data, monkeypatch):
    def terminated(image):
        os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    monkeypatch.setattr(score_columns, "sharpness", terminated)
    with pytest.raises(Preempted, match=r"x\.scores\.h5 \(whole columns\)"):
        run(PIXEL_SCORES, synthetic, data, device="cpu")
    assert values(synthetic) == {}


def test_interrupted_judges_end_as_uninterrupted_ones(data, judges, tmp_path, monkeypatch):
    """Stopped in the second network's training, then in its test."""
    from contextlib import contextmanager

    dataset = read_data(data)
    pair = cross_fitting.prepare(tmp_path / "run", dataset, TRAINING)

    @contextmanager
    def stopping(description, unit):
        def progress(done, total):
            if "2 of 2" in description and done > total / 2:
                os.kill(os.getpid(), signal.SIGTERM)

        yield progress

    with pytest.raises(Preempted, match="whole epochs"):
        cross_fitting.train(pair, dataset, device="cpu", bar=stopping)
    with monkeypatch.context() as patch:
        patch.setattr(cross_fitting, "left_out_margin", lambda *_: die())
        assert in_child(lambda: cross_fitting.train(pair, dataset, device="cpu")) == -9
    assert not (tmp_path / "run" / "results.json").exists()
    log = []
    resumed = cross_fitting.train(pair, dataset, device="cpu", log=log.append)
    whole = files.read_json(judges / "results.json")
    for network in (0, 1):
        ours, theirs = (pair.weights(network), judges / f"fold-{network}.safetensors")
        assert tensors(ours) == tensors(theirs)
        assert resumed["networks"][network]["held_out"] == whole["networks"][network]["held_out"]


def tensors(path):
    """A checkpoint's content but its header, which tells the time."""
    from safetensors.torch import load_file

    return {name: value.numpy().tobytes() for name, value in load_file(path).items()}


def test_processes_that_add_columns_at_once_lose_none(base, tmp_path):
    (tmp_path / "x.h5").write_bytes(base.read_bytes())
    reader = store.Reader(tmp_path / "x.h5")
    column = np.arange(len(reader)).astype(np.float32)

    def adding(letter):
        for number in range(20):
            store.write_scores(reader, {f"{letter}{number}": store.Score(column + number, {"by": letter})})

    def both():
        other = os.fork()
        if other == 0:
            try:
                adding("a")
            finally:
                os._exit(0)
        adding("b")
        os.waitpid(other, 0)

    assert in_child(both) == 0
    assert reader.scores.keys() == {f"{letter}{number}" for letter in "ab" for number in range(20)}
    assert all((score.values == column + int(name[1:])).all() for name, score in reader.scores.items())
    assert {path.name for path in tmp_path.iterdir()} == {"x.h5", "x.scores.h5"}, "no lock is left"


def test_a_killed_writer_frees_its_lock_and_no_locks_are_no_hindrance(synthetic, monkeypatch):
    reader = store.Reader(synthetic)
    score = store.Score(np.zeros(len(reader), np.float32), {})

    def killed():
        monkeypatch.setattr(store.scores, "write", lambda *arguments: die())
        store.write_scores(reader, {"first": score})

    assert in_child(killed) == -9
    assert synthetic.with_name(".x.scores.h5.lock").exists()
    store.write_scores(reader, {"first": score})

    def without_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(fcntl, "lockf", without_locks)
    store.write_scores(reader, {"second": score})
    assert reader.scores.keys() == {"first", "second"}
    assert not synthetic.with_name(".x.scores.h5.lock").exists()


def test_no_two_sets_share_a_file_of_scores(tmp_path):
    folders, whole = ("x", "x.shards", "x.h5.d", "x.shards.shards"), ("x.h5", "x.shards.h5", "x.shards-.h5")
    for name in folders:
        (tmp_path / name).mkdir()
    names = [store.scores_path(tmp_path / name).name for name in (*folders, *whole)]
    assert len(set(names)) == len(names)
    assert store.scores_path(tmp_path / "x.h5").name == "x.scores.h5"
    assert store.scores_path(tmp_path / "x").name == "x.shards-scores.h5"


# ---- by the discriminators


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A short training of a generator."""
    recipe = create_recipe("patn", "tiny", network={"width": 4, "blocks": 1}, training={"images": 8, "batch": 4})
    folder = tmp_path_factory.mktemp("generator") / "run"
    return train_generator.run(TrainGeneratorConfig(recipe, same_camera=True), data, folder, device="cpu").parent


def test_the_discriminators_see_image_source_and_target_pose(data, trained, tmp_path):
    path = write(tmp_path / "x.h5", data, weights=files.sha256(trained / "generator.safetensors"))
    config = ScoreConfig(("discriminator",), batch=16)
    run(config, path, data, generator=trained, device="cpu")
    reader = store.Reader(path)
    score = reader.scores["discriminator"]
    assert np.ptp(score.values) > 0
    assert score.provenance["generator"]["discriminators"] == ["appearance_discriminator", "shape_discriminator"]
    assert score.provenance["generator"]["value"] == criticism.PROBABILITY

    critic = prepare(config, path, data, generator=trained, device="cpu").critic[0]
    named = {record.name: record.path for record in read_data(data).train}
    for row in (2, 30, len(reader) - 1):
        image, source = (
            from_uint8(torch.from_numpy(pixels.copy()[None]))
            for pixels in (reader.image(row), read_image(named[reader.source_name(row)]))
        )
        target_map = posemaps.render(torch.from_numpy(reader.poses(np.array([row]))), SIZE, kind=critic.pose_map)
        assert score.values[row] == pytest.approx(float(critic(image, source, target_map)), abs=1e-5)


def test_a_critic_of_another_generator_is_refused(base, data, trained, judges, tmp_path):
    config = ScoreConfig(("discriminator",))
    with pytest.raises(ValueError, match=r"its weights did not make this set: weights_sha256 .* None here"):
        run(config, base, data, generator=trained, device="cpu")
    with pytest.raises(ValueError, match="no run of `augment train-generator`"):
        run(config, base, data, generator=judges, device="cpu")
    path = write(tmp_path / "x.h5", data, weights=files.sha256(trained / "generator.safetensors"))
    copy = tmp_path / "run"
    copy.mkdir()
    for name in ("config.json", "generator.safetensors"):
        (copy / name).write_bytes((trained / name).read_bytes())
    with pytest.raises(ValueError, match=r"--generator .*checkpoint\.safetensors.*leave it out"):
        run(config, path, data, generator=copy, device="cpu")
    (copy / "checkpoint.safetensors").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"--generator .*leave it out"):
        run(config, path, data, generator=copy, device="cpu")


def test_parties_cover_every_row_and_are_of_one_size_where_that_matters():
    rows = range(40, 50)
    assert [part.tolist() for part in score_columns._parties(rows, 4, None)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    for company in (4, 16):
        mixed = list(score_columns._parties(rows, 3, company))
        assert {len(part) for part in mixed} == {company}
        assert set(np.concatenate(mixed).tolist()) == set(range(10))
        again = list(score_columns._parties(rows, 9, company))
        np.testing.assert_array_equal(np.concatenate(mixed), np.concatenate(again))


# ---- by a pose estimator


class Finder:
    """An estimator that is right about some images, and finds nobody in the others."""

    provenance = {"estimator": "made up"}  # noqa: RUF012 (a protocol's attribute)

    def __init__(self, poses, right):
        self.poses, self.right, self.seen = poses, right, 0

    def __call__(self, images):
        rows = np.arange(self.seen, self.seen + len(images))
        self.seen += len(images)
        return np.where(self.right[rows, None, None], self.poses[rows], np.nan).astype(np.float32)


def test_pose_agreement_of_a_made_up_estimator(base):
    reader = store.Reader(base)
    right = np.arange(len(reader)) % 2 == 0
    column = pose_column(reader, Finder(reader.target_pose, right), batch=16, progress=lambda done, total: None)
    known = keypoints.has_torso(reader.target_pose)
    assert not known[reader.target_index == UNKNOWN].any()
    assert np.isnan(column[reader.target_index == UNKNOWN]).all()
    np.testing.assert_array_equal(column[known], right[known])


def test_the_stage_takes_weights_that_are_given_or_where_torch_keeps_them(synthetic, data, monkeypatch, tmp_path):
    made = []

    def build(weights, device):
        made.append(weights)
        reader = store.Reader(synthetic)
        return Finder(reader.target_pose, np.ones(len(reader), bool))

    monkeypatch.setattr(scoring, "KeypointRCNN", build)
    config = ScoreConfig(("pose_agreement",))
    with pytest.raises(ValueError, match=r"--scores pose_agreement: needs a pose estimator \(--pose-weights keypoint"):
        run(config, synthetic, data, device="cpu")
    run(config, synthetic, data, pose_weights=tmp_path / "given.pth", device="cpu")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / WEIGHTS[1]).touch()
    run(config, synthetic, data, device="cpu", force=True)
    assert [path.name for path in made] == ["given.pth", WEIGHTS[1]]
    assert np.nanmin(values(synthetic)["pose_agreement"]) == 1


# ---- what is refused


def test_sets_that_cannot_be_scored(data, base, tmp_path):
    dataset = read_data(data)
    names = [record.name for record in sorted(dataset.train, key=lambda record: record.name)]
    test_name = dataset.gallery[0].name

    def refused(words, **changes):
        path = write(tmp_path / "refused.h5", data, **changes)
        with pytest.raises(ValueError, match=words):
            prepare(PIXEL_SCORES, path, data)

    refused("data_digest", data_digest="0" * 64)
    refused("poses are of query or gallery images", files=(test_name, *names[1:]))
    refused(r"of its sources are no training images .*elsewhere\.jpg", files=("elsewhere.jpg", *names[1:]))
    pids = np.repeat([record.pid for record in sorted(dataset.train, key=lambda record: record.name)], 3)
    refused(r"row 0 is labelled as identity \d+, but its source", pid=pids[::-1].copy())

    chosen = store.write_selection(tmp_path / "chosen.h5", store.Reader(base), np.array([0, 4]), {})
    with pytest.raises(ValueError, match=r"chosen\.h5: a selection; score the set that it is of, .*x\.h5"):
        prepare(PIXEL_SCORES, chosen, data)


def test_of_test_identities_all_but_identity_is_scored(data, tmp_path):
    dataset = read_data(data)
    records = sorted(dataset.train, key=lambda record: record.name)
    shown = next(record for record in dataset.query if record.pid > 0)
    names, pids = [record.name for record in records], np.repeat([record.pid for record in records], 3)
    pids[:3] = shown.pid
    path = write(tmp_path / "x.h5", data, files=(shown.name, *names[1:]), pid=pids, test_identities=True)
    log, ours = [], tmp_path / "judges"
    run(ScoreConfig(training=TRAINING), path, data, reid=ours, device="cpu", log=log.append)
    assert set(values(path)) == {"source_l1", "sharpness"}
    expected = np.abs(store.Reader(path).image(1).astype(float) - read_image(shown.path)).mean() / 255
    assert values(path)["source_l1"][1] == pytest.approx(expected, rel=1e-5)
    assert f"not computed: {', '.join(FEATURES)}: the set was made with --allow-test-identities" in "\n".join(log)
    assert not ours.exists(), "no judges are trained for nothing"
    for name in FEATURES:
        with pytest.raises(ValueError, match=f"--scores {name}: the set was made with --allow-test-identities"):
            prepare(replace(CONFIG, scores=("sharpness", name)), path, data, reid=ours)
    pids[0] = records[0].pid
    wrong = write(tmp_path / "wrong.h5", data, files=(shown.name, *names[1:]), pid=pids, test_identities=True)
    with pytest.raises(ValueError, match="row 0 is labelled as"):
        prepare(PIXEL_SCORES, wrong, data)
    strange = write(tmp_path / "strange.h5", data, files=("elsewhere.jpg", *names[1:]), test_identities=True)
    with pytest.raises(ValueError, match=r"are no images of .*elsewhere\.jpg"):
        prepare(PIXEL_SCORES, strange, data)


def test_scores_of_another_set_are_replaced_with_force_only(synthetic, data):
    run(PIXEL_SCORES, synthetic, data, device="cpu")
    before = store.scores_path(synthetic).read_bytes()
    images = np.full((len(store.Reader(synthetic)), *SIZE, 3), 90, np.uint8)
    other = write(synthetic.with_name("new.h5"), data, images=images)
    other.replace(synthetic)
    store.scores_path(synthetic).write_bytes(before)
    with pytest.raises(ValueError, match=r"x\.scores\.h5: scores of another set .*--force"):
        run(ScoreConfig(("sharpness",)), synthetic, data, device="cpu")
    assert store.scores_path(synthetic).read_bytes() == before
    str(prepare(PIXEL_SCORES, synthetic, data, force=True))
    assert store.scores_path(synthetic).read_bytes() == before
    run(ScoreConfig(("sharpness",)), synthetic, data, device="cpu", force=True)
    assert values(synthetic).keys() == {"sharpness"}
    assert (values(synthetic)["sharpness"] == 0).all()


def test_a_damaged_image_is_named(synthetic, data):
    content = bytearray(synthetic.read_bytes())
    pixels = store.Reader(synthetic).image(5).tobytes()
    content[content.index(pixels) + 100] ^= 255
    synthetic.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"x\.h5: image 5 is damaged"):
        run(PIXEL_SCORES, synthetic, data, device="cpu")


@pytest.mark.parametrize(
    ("scores", "given", "words"),
    [
        (("identity_margin",), {}, r"--scores identity_margin: needs judges .*--reid RUN"),
        (("discriminator",), {}, "--scores discriminator: needs the training run"),
        (("sharpness",), {"reid": "judges"}, "--reid: none of the scores asked for needs it"),
        (("sharpness",), {"pose_weights": "x"}, "--pose-weights: none of the scores asked for needs it"),
    ],
)
def test_what_a_score_needs_and_what_none_needs(base, data, tmp_path, scores, given, words):
    with pytest.raises(ValueError, match=words):
        prepare(ScoreConfig(scores), base, data, **{name: tmp_path / value for name, value in given.items()})
    with pytest.raises(ValueError, match="--scores beauty: expected some of identity_similarity"):
        ScoreConfig(("beauty",))


def test_folders_that_hold_no_such_pair_are_refused(data, judges, tmp_path):
    dataset = read_data(data)

    def refused(words, folder, training=TRAINING):
        with pytest.raises(ValueError, match=words):
            cross_fitting.prepare(folder, dataset, training)

    refused(r"epochs \(30 there, 9 here\); give its options", judges, replace(TRAINING, epochs=9))
    (tmp_path / "file").touch()
    refused("--reid .*file: is a file", tmp_path / "file")
    refused("--reid .*: holds other files; give a new folder", tmp_path)
    (tmp_path / "config.json").write_text('{"stage": "train-reid", "config": {}}')
    refused("is a train-reid run, whose network has seen the identities that it would judge", tmp_path)
    few = replace(dataset, train=tuple(record for record in dataset.train if record.pid < 7))
    with pytest.raises(ValueError, match="3 training identities"):
        cross_fitting.prepare(tmp_path / "new", few, TRAINING)


def test_exchanged_networks_are_noticed(data, judges, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in judges.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    one, other = folder / "fold-0.safetensors", folder / "fold-1.safetensors"
    one.write_bytes(other.read_bytes())
    dataset = read_data(data)
    with pytest.raises(ValueError, match=r"fold-0\.safetensors: not the network that was trained here"):
        cross_fitting.train(cross_fitting.prepare(folder, dataset, TRAINING), dataset, device="cpu")


def test_sources_of_another_size_are_scaled(data, tmp_path):
    images = np.zeros((3 * len(read_data(data).train), 32, 16, 3), np.uint8)
    reader = store.Reader(write(tmp_path / "x.h5", data, images=images))
    sources = find_sources(reader, read_data(data))
    assert sources.pixels(range(4, 9), reader.size).shape == (5, 32, 16, 3)


# ---- for people


def test_the_table():
    column = np.array([1, 2, 3, 4, np.nan], np.float32)
    lines = table({"sharpness": store.Score(column, {}), "zoo": store.Score(np.full(5, np.nan, np.float32), {})})
    rows = [line.split() for line in lines.splitlines()]
    assert rows[0] == ["score", "mean", "5", "%", "median", "95", "%", "NaN"]
    assert rows[1] == ["sharpness", "2.5", "1.15", "2.5", "3.85", "1"]
    assert rows[2] == ["zoo", "nan", "nan", "nan", "nan", "5"]


def test_the_command(synthetic, data, judges, monkeypatch, capsys):
    from augment.commands import score

    assert score.NAMES == NAMES
    monkeypatch.setitem(cli.COMMANDS, "score", ("score", "Measure the images of a synthetic set."))
    augment = caller(monkeypatch, capsys)
    outcome = augment("score", synthetic, data, "--device", "cpu")
    assert outcome.code == 0, outcome
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["score", "source_l1", "sharpness"]
    assert "not computed: identity_similarity, identity_margin, source_distance: needs judges" in outcome.err
    outcome = augment("score", synthetic, data, "--dry-run", "--reid", synthetic.parent / "new")
    assert outcome.code == 0, outcome
    assert "16 identities: identity_similarity, identity_margin" in outcome.out
    assert not (synthetic.parent / "new").exists()
    for arguments, words in (
        (("--scores", "identity_margin"), "Error: --scores identity_margin: needs judges"),
        (("--epochs", "3"), "--epochs: given without --reid RUN"),
        (("--scores", "beauty"), "beauty"),
        (("--reid", judges), "batch (8 there, 32 here)"),
        (("--reid", synthetic.parent / "new", "--init", "nothing.pth"), "init nothing.pth: no such file"),
    ):
        outcome = augment("score", synthetic, data, *arguments)
        assert outcome.code == 2
        assert words in outcome.err
        assert len(outcome.err.splitlines()) == 1, outcome.err
