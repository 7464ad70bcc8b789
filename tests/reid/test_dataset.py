"""Items of the training set: labels, pixels as torchreid has them, augmentation that depends on the draw alone."""

import contextlib
import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import functional

from reid.dataset import MixedDataset, View, augmented, jittered, normalised, resized
from reid.mixing import Item, MixPolicy, mix
from reid.sampling import Draw, EpochBatches
from reid.torchreid_api import torchreid
from tests.reference.noise import NoiseSource, people

VIEW = View(48, 24, flip=0.5, pad=4, erase=0.5)


@pytest.fixture
def dataset():
    real, synthetic = people(), people(per_identity=2, seed=1)
    return MixedDataset([real, synthetic], mix(real, [synthetic], MixPolicy()), VIEW)


def test_labels_are_ranks_and_flags_tell_the_source(dataset):
    items = [dataset[index] for index in range(len(dataset))]
    assert dataset.num_classes == 8
    assert [label for _, label, _, synthetic in items if not synthetic] == [index // 6 for index in range(48)]
    assert [synthetic for *_, synthetic in items] == [False] * 48 + [True] * 16
    assert {int(dataset.pids[label]) for _, label, _, _ in items} == {3, 5, 7, 9, 11, 13, 15, 17}


def test_labels_do_not_depend_on_the_order_of_the_list():
    items = [Item(0, index, pid, 0, False) for index, pid in enumerate([900, 4, 33])]
    dataset = MixedDataset([NoiseSource([900, 4, 33])], items, VIEW)
    assert [dataset[index][1] for index in range(3)] == [2, 0, 1]


def test_plain_pixels_are_torchreids(dataset):
    with contextlib.redirect_stdout(io.StringIO()):
        _, transform = torchreid().data.transforms.build_transforms(48, 24)
    expected = transform(Image.fromarray(people().image(0)))
    torch.testing.assert_close(dataset[0][0], expected, rtol=0, atol=2e-6)


def test_an_image_is_a_function_of_its_draw(dataset):
    def shown(item, *noise):
        return dataset[Draw(item, noise)][0]

    assert torch.equal(shown(0, 0, 1, 2), shown(0, 0, 1, 2))
    others = [shown(0, 1, 1, 2), shown(0, 0, 2, 2), shown(0, 0, 1, 3)]
    assert not any(torch.equal(shown(0, 0, 1, 2), other) for other in others)


def test_workers_change_nothing(dataset):
    def epochs(source, workers):
        sampler = EpochBatches(source.synthetic, batch=8, seed=5, epochs=2)
        return list(DataLoader(source, batch_sampler=sampler, num_workers=workers))

    alone = epochs(dataset, 0)
    for other in (epochs(dataset, 2), epochs(pickle.loads(pickle.dumps(dataset)), 0)):
        assert len(other) == len(alone) == 16
        for one, two in zip(alone, other, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.slow
def test_spawned_workers_change_nothing(dataset):
    sampler = EpochBatches(dataset.synthetic, batch=8, seed=5, epochs=1)
    spawned = DataLoader(dataset, batch_sampler=sampler, num_workers=1, multiprocessing_context="spawn")
    for one, two in zip(DataLoader(dataset, batch_sampler=sampler), spawned, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def shown_often(view, count=400):
    image = people(height=view.height, width=view.width).image(0)
    plain = augmented(image, View(view.height, view.width, flip=0.0), np.random.default_rng(0))
    return plain, [augmented(image, view, np.random.default_rng([0, number])) for number in range(count)]


def test_flips_are_mirror_images():
    plain, shown = shown_often(View(32, 16, flip=0.5))
    flipped = [torch.equal(image, plain.flip(2)) for image in shown]
    assert all(torch.equal(image, plain) or was for image, was in zip(shown, flipped, strict=True))
    assert 0.4 < np.mean(flipped) < 0.6


def test_pad_and_crop_shifts_by_at_most_the_pad():
    plain, shown = shown_often(View(32, 16, flip=0.0, pad=2))
    inner = plain[:, 2:-2, 2:-2]
    shifts = {
        (top, left)
        for image in shown
        for top in range(5)
        for left in range(5)
        if torch.equal(image[:, top : top + 28, left : left + 12], inner)
    }
    assert len(shifts) == 25


def test_erasing_sets_boxes_of_the_stated_size_to_the_mean():
    plain, shown = shown_often(View(32, 16, flip=0.0, erase=1.0))
    for image in shown:
        erased = (image != plain).any(0)
        assert (image[:, erased] == 0).all()
        rows, columns = erased.any(1).nonzero(), erased.any(0).nonzero()
        box = erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.float().mean() > 0.9, "a box"
        assert 0.01 < box.numel() / erased.numel() < 0.45


def test_the_digest_tells_lists_apart():
    real = people()
    digests = {
        MixedDataset([real], mix(real, [], MixPolicy(portion=portion)), VIEW).digest for portion in (1.0, 0.5, 0.5)
    }
    assert len(digests) == 2


def test_an_empty_list_is_an_error():
    with pytest.raises(ValueError, match="empty"):
        MixedDataset([], [], VIEW)


def test_jitter_is_torchvisions_with_the_same_factors():
    image = people().image(0)
    drawn = np.random.default_rng(5)
    order = drawn.permutation(2)
    factors = {number: drawn.uniform(*((0.8, 1.2), (0.85, 1.15))[number]) for number in order}
    expected = Image.fromarray(image)
    for number in order:
        change = functional.adjust_brightness if number == 0 else functional.adjust_contrast
        expected = change(expected, float(factors[number]))
    np.testing.assert_array_equal(jittered(image, np.random.default_rng(5)), np.asarray(expected))


def test_a_colour_shift_is_one_colour_with_torchreids_spread():
    plain, shown = shown_often(View(32, 16, flip=0.0, colour=1.0), count=2000)
    shifts = torch.stack([(image - plain).flatten(1) for image in shown])
    assert float((shifts - shifts[:, :, :1]).abs().max()) < 1e-5
    deviation = torch.tensor([0.229, 0.224, 0.225])
    own = torchreid().data.transforms.ColorAugmentation(p=1.0)
    torch.manual_seed(0)
    theirs = torch.stack([own(torch.zeros(3, 1, 1)).flatten() for _ in range(2000)])
    torch.testing.assert_close(torch.cov((shifts[:, :, 0] * deviation).T), torch.cov(theirs.T), rtol=0.15, atol=5e-6)
    plain, shown = shown_often(View(32, 16, flip=0.0, colour=0.5))
    assert 0.4 < np.mean([torch.equal(image, plain) for image in shown]) < 0.6


def test_translation_is_a_crop_of_the_enlarged_image():
    plain, shown = shown_often(View(32, 16, flip=0.0, translate=1.0), count=300)
    larger = normalised(resized(people(height=32, width=16).image(0), 36, 18))
    crops = {larger[:, top : top + 32, left : left + 16].numpy().tobytes() for top in range(5) for left in range(3)}
    assert {image.numpy().tobytes() for image in shown} == crops
    assert not any(torch.equal(image, plain) for image in shown)


def test_new_augmentations_do_not_move_the_draws_of_old_ones():
    image = people(height=32, width=16).image(0)
    old, new = View(32, 16, pad=2), View(32, 16, pad=2, colour=1e-12, translate=1e-12)
    for number in range(20):
        one, two = (augmented(image, view, np.random.default_rng(number)) for view in (old, new))
        assert torch.equal(one, two)
