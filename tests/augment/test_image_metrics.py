"""The registry, the columns of pixels, what saving does, and passes that no batch size changes."""

import dataclasses

import numpy as np
import pytest
import torch

from augment.commands import evaluate_generator as command
from augment.image_folders import of_folders
from augment.image_metrics import METRICS, PIXEL, body_mask, networks_of, pixel_columns, require_known
from augment.image_networks import Networks
from augment.image_pairs import Compared
from augment.image_passes import LOGITS, MASKED_LOGITS, Passes, of_source
from augment.image_saving import saved
from augment.sheets import png
from generators.metrics.masks import patn_body_mask
from generators.metrics.ssim import ssim
from generators.tensors import to_uint8
from tests.posing import pose

CPU = torch.device("cpu")


def noise(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 24, 3), dtype=np.uint8)


def test_the_command_offers_what_the_registry_has():
    assert tuple(METRICS) == command.METRICS
    with pytest.raises(ValueError, match="--metrics sim: no such metric; expected some of ssim, "):
        require_known(["ssim", "sim"], "--metrics")
    assert networks_of(["ssim", "fid", "kid", "lpips"]) == {"inception", "alexnet"}


def test_pixel_columns_take_the_generated_image_first():
    low, high = noise(3) // 4, noise(3, 1)
    one, other = (pixel_columns(["ssim", "l1"], *pair, None, CPU) for pair in ((low, high), (high, low)))
    np.testing.assert_array_equal(one["ssim"], ssim(torch.from_numpy(low), torch.from_numpy(high), "patn").numpy())
    assert (one["ssim"] != other["ssim"]).all(), "the data range is the generated image's"
    np.testing.assert_array_equal(one["l1"], np.abs(low.astype(int) - high).mean(axis=(1, 2, 3)))
    assert list(one) == ["ssim", "l1"]


def test_equal_images_are_best_in_every_pixel_metric():
    images = noise(2)
    poses = np.stack([pose(0, 0.3, (16, 12)), pose(1, 0.3, (16, 12))])
    mask = body_mask(PIXEL, poses, (32, 24), CPU)
    found = pixel_columns(PIXEL, images, images, mask, CPU)
    assert set(found) == set(PIXEL)
    assert {name: values.tolist() for name, values in found.items() if name in ("psnr", "l1")} == {
        "psnr": [np.inf] * 2,
        "l1": [0.0] * 2,
    }
    for name in set(PIXEL) - {"psnr", "l1"}:
        np.testing.assert_allclose(found[name], 1)


def test_saving_rounds_or_cuts_off():
    level = 2 * 100.9 / 255 - 1
    images = torch.full((2, 3, 16, 16), level)
    assert (saved(images, "lossless") == 101).all()
    assert (saved(images, "jpeg") == 100).all()
    rough = torch.rand(2, 3, 16, 16) * 2 - 1
    np.testing.assert_array_equal(saved(rough, "lossless"), to_uint8(rough).numpy())
    assert np.abs(saved(rough, "jpeg").astype(int) - to_uint8(rough).numpy()).max() > 10, "JPEG loses"


class Brightness:
    """Stands for any network: features are means of the channels."""

    def features(self, images):
        return images.mean(axis=(1, 2)).astype(np.float32)

    def logits_of(self, features):
        return features * 2

    def logits(self, images):
        return self.logits_of(self.features(images))

    def __call__(self, generated, real):
        return np.abs(self.features(generated) - self.features(real)).sum(axis=1)


def compared_to_itself(tmp_path, count=5) -> Compared:
    for folder, pixels in (("real", noise(count)), ("made", noise(count, 1))):
        (tmp_path / folder).mkdir()
        for index, image in enumerate(pixels):
            (tmp_path / folder / f"{index + (folder == 'made')}.png").write_bytes(png(image))
    return of_folders(tmp_path / "real", tmp_path / "made")


def test_passes_do_not_depend_on_the_batch(tmp_path):
    """Images 1 to 4 of five have a true one."""
    compared = compared_to_itself(tmp_path)
    poses = np.stack([pose(index % 3, 0.3, (16, 12)) for index in range(5)])
    compared = dataclasses.replace(compared, poses=poses)
    network = Brightness()
    networks = Networks(lpips=network, inception=network, torchvision=network, reid=network)  # pyright: ignore
    names = frozenset({"ssim", "mask_ssim", "lpips", "fid", "fid_gfla", "inception_score", "mask_is"})
    found = [Passes(names, networks, CPU, batch).generated(compared, lambda done, total: None) for batch in (1, 3, 64)]
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        for name, values in other.items():
            np.testing.assert_allclose(values, found[0][name], err_msg=name)
    made, real = noise(5, 1), noise(5)
    np.testing.assert_array_equal(np.isnan(found[0]["ssim"]), [False] * 4 + [True])
    np.testing.assert_allclose(found[0]["lpips"][:4], network(made[:4], real[1:]))
    np.testing.assert_allclose(found[0][LOGITS], 2 * made.mean(axis=(1, 2)), rtol=1e-6)
    masked = made * patn_body_mask(torch.from_numpy(poses), (32, 24)).numpy()[..., None]
    np.testing.assert_allclose(found[0][MASKED_LOGITS], 2 * masked.mean(axis=(1, 2)), rtol=1e-6)


def test_identity_is_compared_with_the_true_image_and_two_real_ones_with_each_other(tmp_path):
    compared = compared_to_itself(tmp_path, count=3)
    everything = np.ones(3, dtype=bool)
    compared = dataclasses.replace(compared, paired=everything, source=lambda rows: noise(3, 2)[rows])
    compared = dataclasses.replace(compared, true=lambda rows: noise(3)[rows])
    network = Brightness()
    passes = Passes(frozenset({"identity_similarity"}), Networks(reid=network), CPU, 2)  # pyright: ignore
    found = passes.generated(compared, lambda done, total: None)

    def cosine(one, two):
        one, two = network.features(one).astype(float), network.features(two).astype(float)
        return (one * two).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(two, axis=1)

    np.testing.assert_allclose(found["identity_similarity"], cosine(noise(3, 1), noise(3)))
    np.testing.assert_allclose(found[of_source("identity_similarity")], cosine(noise(3, 2), noise(3)))


def test_pckh_rounds_what_was_found(tmp_path):
    """The head is 10 x 10 pixels: 5 off is too far, and 4.6 is 5 in an annotation file, 4.4 is 4."""
    target = np.full((3, 18, 2), np.nan, dtype=np.float32)
    target[:, 0], target[:, 1], target[:, 4] = (4, 4), (14, 14), (20, 10)
    found = target.copy()
    found[:, 4] += np.asarray([(4.6, 0), (4.4, 0), (0, -4.5)], dtype=np.float32)  # 5.5 columns are rounded to 6

    class Finder:
        def detect(self, images):
            return found[: len(images)], np.ones(len(images), dtype=np.float32)

    compared = dataclasses.replace(compared_to_itself(tmp_path, count=3), poses=target)
    passes = Passes(frozenset({"pckh"}), Networks(estimator=Finder()), CPU, 3)  # pyright: ignore
    joints = passes.generated(compared, lambda done, total: None)["pckh"]
    assert joints.tolist() == [[2, 3], [3, 3], [3, 3]]
