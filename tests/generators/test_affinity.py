"""DPTN-TA's loss against values of the authors' code, and the properties that its formula promises."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.affinity import AFFINITY_LAYERS, FLOOR, affinity, affinity_loss

GOLDEN = Path(__file__).parents[1] / "golden" / "dptn_ta_affinity_loss.safetensors"
SIZES = {"relu4_1": (4, 3), "relu5_1": (2, 2)}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN)


def levels(golden: dict[str, torch.Tensor], image: str) -> dict[str, torch.Tensor]:
    return {layer: golden[f"{layer}.{image}"].clone() for layer in AFFINITY_LAYERS}


@pytest.fixture
def features() -> tuple[dict[str, torch.Tensor], ...]:
    """Features of three images, as VGG19's: not negative, about half of them zero."""
    rng = torch.Generator().manual_seed(0)
    return tuple(
        {layer: torch.randn(2, 5, *size, generator=rng).relu() + 0.01 for layer, size in SIZES.items()}
        for _ in range(3)
    )


# ---- parity


@pytest.mark.parametrize("layer", AFFINITY_LAYERS)
def test_affinities_equal_those_of_the_authors(golden, layer):
    for image in ("generated", "target"):
        found = affinity(golden[f"{layer}.{image}"], golden[f"{layer}.source"])
        torch.testing.assert_close(found, golden[f"{layer}.affinity_{image}"], rtol=1e-5, atol=1e-8)


def test_loss_and_gradient_equal_those_of_the_authors(golden):
    generated = {layer: maps.requires_grad_() for layer, maps in levels(golden, "generated").items()}
    loss = affinity_loss(generated, levels(golden, "target"), levels(golden, "source"))
    torch.testing.assert_close(loss, golden["output.loss"], rtol=1e-5, atol=0)
    torch.testing.assert_close(loss, sum(golden[f"{layer}.loss"] for layer in AFFINITY_LAYERS), rtol=1e-5, atol=0)
    loss.backward()
    for layer, maps in generated.items():
        assert maps.grad is not None
        expected = golden[f"{layer}.grad_generated"]
        empty = (maps == 0).all(1, keepdim=True).expand_as(maps)
        assert empty.any()
        assert torch.equal(expected.isnan(), empty), "theirs is undefined where a position has no features"
        assert (maps.grad[empty] == 0).all()
        torch.testing.assert_close(maps.grad[~empty], expected[~empty], rtol=1e-4, atol=1e-9)


# ---- affinity


def test_affinity_is_the_softmax_of_the_cosines():
    source = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).T.reshape(1, 2, 1, 2)  # two positions, at right angles
    found = affinity(torch.tensor([3.0, 0.0]).reshape(1, 2, 1, 1), source, temperature=0.5)
    expected = torch.tensor([2.0, 0.0]).softmax(0)  # cosines 1 and 0, divided by the temperature
    torch.testing.assert_close(found, expected.reshape(1, 1, 2))


def test_rows_sum_to_one_and_positions_are_row_major(features):
    images, _, sources = (each["relu4_1"] for each in features)
    found = affinity(images, sources[..., :2])
    assert found.shape == (2, 4 * 3, 4 * 2)
    torch.testing.assert_close(found.sum(2), torch.ones(2, 4 * 3))
    row = affinity(images[:, :, 2:3, 1:2], sources[..., :2])
    torch.testing.assert_close(found[:, 2 * 3 + 1], row[:, 0])


def test_a_position_without_features_resembles_all_alike(features):
    found = affinity(torch.zeros(2, 5, 1, 1), features[2]["relu4_1"])
    torch.testing.assert_close(found, torch.full((2, 1, 12), 1 / 12))


def test_features_shorter_than_the_floor_are_divided_by_it():
    source = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).T.reshape(1, 2, 1, 2)
    found = affinity(torch.tensor([FLOOR / 4, 0.0]).reshape(1, 2, 1, 1), source)
    torch.testing.assert_close(found, torch.tensor([1 / 4, 0.0]).softmax(0).reshape(1, 1, 2))


def test_reduced_precision_is_not_used_inside(features):
    images, _, sources = (each["relu4_1"] for each in features)
    expected = affinity(images.bfloat16().float(), sources.bfloat16().float())
    with torch.autocast("cpu", torch.bfloat16):
        found = affinity(images.bfloat16(), sources.bfloat16())
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


# ---- loss


def test_the_target_itself_costs_nothing(features):
    _, target, source = features
    assert affinity_loss(target, target, source) == 0


def test_another_image_costs_something(features):
    assert affinity_loss(*features) > 0


def test_lengths_of_features_do_not_matter(features):
    rng = torch.Generator().manual_seed(1)
    rescaled = [
        {layer: maps * (0.1 + torch.rand(2, 1, *maps.shape[2:], generator=rng)) for layer, maps in each.items()}
        for each in features
    ]
    torch.testing.assert_close(affinity_loss(*rescaled), affinity_loss(*features), rtol=1e-4, atol=0)


def test_only_the_generated_image_gets_a_gradient(features):
    for each in features:
        for maps in each.values():
            maps.requires_grad_()
    affinity_loss(*features).backward()
    generated, *others = features
    assert all(maps.grad is not None and maps.grad.abs().sum() > 0 for maps in generated.values())
    assert all(maps.grad is None for other in others for maps in other.values())


def test_an_image_without_any_features_has_a_finite_gradient(features):
    _, target, source = features
    generated = {layer: torch.zeros_like(maps).requires_grad_() for layer, maps in target.items()}
    affinity_loss(generated, target, source).backward()
    assert all(torch.equal(maps.grad, torch.zeros_like(maps)) for maps in generated.values())


def test_the_gradient_is_that_of_finite_differences(features):
    generated, target, source = ({layer: maps.double() for layer, maps in each.items()} for each in features)

    def loss(maps: torch.Tensor) -> torch.Tensor:
        return affinity_loss(generated | {"relu5_1": maps}, target, source, 0.1, scale_by_positions=True)

    assert torch.autograd.gradcheck(loss, generated["relu5_1"].requires_grad_())


def test_scaling_multiplies_each_level_by_its_source_positions(features):
    expected = sum(
        height * width * (affinity(features[0][layer], source) - affinity(features[1][layer], source)).abs().mean()
        for layer, source in features[2].items()
        for height, width in [SIZES[layer]]
    )
    torch.testing.assert_close(affinity_loss(*features, scale_by_positions=True), expected)


@torch.no_grad()
def test_a_scaled_level_is_at_most_two_at_any_size():
    """The extreme: each position of either image resembles one position of the source only, never the same."""
    for side in (2, 8):
        source = torch.eye(side**2).reshape(1, side**2, side, side)
        maps = dict.fromkeys(AFFINITY_LAYERS, source)
        moved = {layer: source.roll(1, 3) for layer in AFFINITY_LAYERS}
        loss = affinity_loss(moved, maps, maps, temperature=1e-3, scale_by_positions=True)
        torch.testing.assert_close(loss, torch.tensor(2.0 * len(AFFINITY_LAYERS)))


@torch.no_grad()
def test_a_lower_temperature_tells_images_further_apart(features):
    losses = [affinity_loss(*features, temperature=temperature) for temperature in (1.0, 0.3, 0.1)]
    assert losses == sorted(losses)


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_other_temperatures_are_refused(features, temperature):
    with pytest.raises(ValueError, match=rf"temperature {temperature}: expected a positive"):
        affinity_loss(*features, temperature=temperature)
