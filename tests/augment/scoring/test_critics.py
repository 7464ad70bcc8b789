"""Scores by the discriminators that were trained with the generator, and by a pose estimator."""

import numpy as np
import pytest
import torch

from augment import files, score_columns, scoring, store, train_generator
from augment.data import keypoints, posemaps
from augment.data.images import read_image
from augment.data.read import read_data
from augment.plan import UNKNOWN
from augment.pose_estimation import WEIGHTS
from augment.score_columns import pose_column
from augment.scoring import ScoreConfig, prepare, run
from augment.train_generator import TrainGeneratorConfig
from generators import criticism
from generators.registry import create_recipe
from generators.tensors import from_uint8
from tests.judging import SIZE, values, write

# The discriminators


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


# The pose estimator


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
