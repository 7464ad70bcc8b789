"""Losses against values of the authors' code, closed forms, and how VGG19's weights are found."""

import hashlib
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from generators.losses import CONTENT_LAYERS, STYLE_LAYERS, content_loss, gan_loss, gram, reconstruction, style_loss
from generators.vgg import VGG19Features, load_vgg19, random_vgg19

GOLDEN = Path(__file__).parents[1] / "golden"
THIN = (8, 16, 32, 64, 64)
LAYERS = CONTENT_LAYERS + STYLE_LAYERS


def part(golden: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(prefix): tensor for key, tensor in golden.items() if key.startswith(prefix)}


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN / "dptn_vgg_loss.safetensors")


@pytest.fixture
def vgg_file(golden, tmp_path) -> Path:
    """Thin weights laid out as torchvision's file, with the layers after the last used."""
    file = tmp_path / "thin.pth"
    torch.save(part(golden, "vgg.") | {"classifier.0.weight": torch.zeros(2, 2)}, file)
    return file


# ---- VGG19's content and style


def test_content_style_and_gradient_equal_those_of_the_authors(golden, vgg_file):
    network = load_vgg19(LAYERS, vgg_file, THIN)
    x, y = golden["input.x"].clone().requires_grad_(), golden["input.y"]
    ours, theirs = network(x), network(y)
    for layer, maps in ours.items():
        torch.testing.assert_close(maps.mean(), golden[f"feat_x_mean.{layer}"], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(maps.std(), golden[f"feat_x_std.{layer}"], rtol=1e-4, atol=1e-6)
    content, style = content_loss(ours, theirs), style_loss(ours, theirs)
    torch.testing.assert_close(content, golden["output.content"], rtol=1e-5, atol=0)
    torch.testing.assert_close(style, golden["output.style"], rtol=1e-5, atol=0)
    weighted = 0.5 * content + 500 * style
    torch.testing.assert_close(weighted, golden["output.weighted_0.5c_500s"], rtol=1e-5, atol=0)
    weighted.backward()
    torch.testing.assert_close(x.grad, golden["output.grad_x_of_weighted"], atol=1e-6, rtol=0)


def test_content_and_style_of_given_maps_equal_those_of_the_authors():
    golden = load_file(GOLDEN / "dptn_content_style_on_maps.safetensors")
    x, y = part(golden, "x."), part(golden, "y.")
    for layer, expected in part(golden, "gram_x.").items():
        torch.testing.assert_close(gram(x[layer]), expected, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(content_loss(x, y), golden["output.content"], rtol=1e-5, atol=0)
    torch.testing.assert_close(style_loss(x, y), golden["output.style"], rtol=1e-5, atol=0)


def test_equal_images_lose_nothing_and_order_does_not_matter():
    maps = {layer: torch.rand(2, 3, 4, 4) for layer in CONTENT_LAYERS + STYLE_LAYERS}
    other = {layer: tensor + 1 for layer, tensor in maps.items()}
    assert content_loss(maps, maps) == style_loss(maps, maps) == 0
    torch.testing.assert_close(content_loss(maps, other), torch.tensor(5.0))  # five layers, each off by one
    assert style_loss(maps, other) == style_loss(other, maps)
    assert reconstruction(torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), -0.25)) == 0.25


def test_gram_matrix_of_constant_channels():
    maps = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1).expand(1, 2, 3, 5)
    expected = torch.tensor([[[1.0, 2.0], [2.0, 4.0]]]) * 15 / (2 * 3 * 5)
    torch.testing.assert_close(gram(maps), expected)


def test_the_network_ends_at_the_last_layer_asked_for_and_never_learns():
    with torch.device("meta"):
        assert len(VGG19Features(LAYERS).features) == 32  # relu5_2 is torchvision's index 31
        assert len(VGG19Features(["relu1_2"]).features) == 4
        network = VGG19Features(["relu4_1", "relu5_1"])
    assert len(network.features) == 30
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_features_are_kept_as_they_were_when_returned():
    torch.manual_seed(0)
    network = VGG19Features(["relu1_1", "relu2_1"], THIN)
    images = torch.rand(1, 3, 8, 8)
    found = network(images)
    assert torch.equal(found["relu1_1"], network.features[:2](images))
    assert torch.equal(found["relu2_1"], network.features(images))


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"unknown VGG19 layers relu6_1: expected some of relu1_1, relu1_2"):
        VGG19Features(["relu1_1", "relu6_1"])


# ---- where the weights come from


def test_weights_are_found_in_the_usual_cache_and_fingerprinted(vgg_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    cached = tmp_path / "home" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    cached.parent.mkdir(parents=True)
    vgg_file.rename(cached)
    assert load_vgg19(LAYERS, widths=THIN).sha256 == hashlib.sha256(cached.read_bytes()).hexdigest()


def test_a_missing_file_says_where_to_put_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"hub/checkpoints/vgg19-dcbb9e9d\.pth: no VGG19 weights.*without perceptual"):
        load_vgg19(LAYERS)


def test_other_and_broken_files_are_refused(vgg_file, tmp_path):
    with pytest.raises(ValueError, match=r"not VGG19's weights: 28 tensors.*first features\.0\.weight"):
        load_vgg19(LAYERS, vgg_file)  # thin, and full widths are expected
    content = vgg_file.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 5):
        vgg_file.write_bytes(content[:length])
        with pytest.raises(ValueError, match="not a complete weights file"):
            load_vgg19(LAYERS, vgg_file, THIN)


FOREIGN = {  # what the unpickler of torch 2.11 makes of the bytes
    "KeyError": b"hello\n",
    "TypeError": b"N}}]s",
    "UnicodeDecodeError": b"X\x01\x00\x00\x00\xff.",
    "IndexError": b"some text",
    "error": b"GIF89a",
    "UnpicklingError": b"<html>",
    "RuntimeError": b"N.",
}


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_bytes_that_are_no_weights_at_all_are_refused(tmp_path, content):
    file = tmp_path / "foreign.pth"
    file.write_bytes(content)
    expected = r"foreign\.pth: not a complete weights file \(\w+\); take vgg19-dcbb9e9d\.pth from"
    with pytest.raises(ValueError, match=expected) as caught:
        load_vgg19(LAYERS, file, THIN)
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("end", [10_000, 66_000, -1000, -1])
def test_a_file_cut_off_is_refused(golden, tmp_path, legacy, end):
    """For short pieces of a zip the reader's complaint is an OSError that names no file."""
    file = tmp_path / "cut.pth"
    torch.save(part(golden, "vgg."), file, _use_new_zipfile_serialization=not legacy)
    file.write_bytes(file.read_bytes()[:end])
    with pytest.raises(ValueError, match=r"cut\.pth: not a complete weights file.*copy it again"):
        load_vgg19(LAYERS, file, THIN)


NOT_PLAIN = {
    "whole numbers": torch.Tensor.long,
    "complex": lambda t: t + 0j,
    "sparse": torch.Tensor.to_sparse,
    "without values": lambda t: t.to("meta"),
    "list": torch.Tensor.tolist,
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("spoil", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_weights_that_are_not_plain_floats_are_refused(golden, tmp_path, spoil):
    file = tmp_path / "odd.pth"
    weights = part(golden, "vgg.")
    torch.save(weights | {"features.0.bias": spoil(weights["features.0.bias"])}, file)
    with pytest.raises(ValueError, match=r"odd\.pth: not VGG19's weights: 1 tensors.*features\.0\.bias; take vgg19"):
        load_vgg19(LAYERS, file, THIN)


# ---- adversarial losses


def test_adversarial_losses_equal_those_of_the_authors():
    golden = load_file(GOLDEN / "dptn_gan_loss.safetensors")
    for name, expected in part(golden, "output.").items():
        mode, real, judge = name.split(".")
        found = gan_loss(
            golden["input.prediction"], real == "real=True", mode, for_discriminator=judge == "is_disc=True"
        )
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0, msg=name)


def test_adversarial_losses_in_closed_form():
    logits = torch.full((2, 1, 3, 3), 0.25)
    for real, lsgan, vanilla, hinge in ((True, 0.75**2, -0.25, 0.75), (False, 0.25**2, 0.25, 1.25)):
        assert gan_loss(logits, real, "lsgan", for_discriminator=True).item() == pytest.approx(lsgan)
        assert gan_loss(logits, real, "hinge", for_discriminator=True).item() == pytest.approx(hinge)
        expected = math.log1p(math.exp(vanilla))
        assert gan_loss(logits, real, "vanilla", for_discriminator=True).item() == pytest.approx(expected)
    assert gan_loss(logits, True, "hinge", for_discriminator=False).item() == -0.25


def test_unknown_adversarial_loss_is_refused():
    with pytest.raises(ValueError, match="unknown adversarial loss 'wgan': expected one of lsgan, vanilla, hinge"):
        gan_loss(torch.zeros(1), True, "wgan", for_discriminator=True)


def test_random_features_come_from_the_seed():
    first, again, other = (random_vgg19(["relu2_1"], seed) for seed in (1, 1, 2))
    assert [layer.out_channels for layer in first.features if hasattr(layer, "out_channels")] == [8, 8, 16]
    image = torch.rand(1, 3, 16, 16)
    maps = [network(image)["relu2_1"] for network in (first, again, other)]
    assert torch.equal(maps[0], maps[1])
    assert not torch.equal(maps[0], maps[2])
    assert 0.2 < maps[0].pow(2).mean().sqrt() < 2, "He's scheme keeps the scale"
    assert first.sha256 != other.sha256
