"""Backbones with seeded random weights, in the published layouts, against the libraries run on the same files."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from augment import backbones
from augment.backbones import FidelityInception, GflaInception, Lpips, MissingExtra, MissingWeights, gfla_rows
from generators.metrics.frechet import frechet_distance, moments
from generators.metrics.inception_score import inception_score
from generators.metrics.kernel_distance import kernel_distance
from tests.random_backbones import write_alexnet, write_fidelity_inception, write_torchvision_inception


def pictures(count, seed=0, height=64, width=32):
    """Coloured patches with some noise."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, (count, height // 8, width // 8, 3)).repeat(8, axis=1).repeat(8, axis=2)
    return np.clip(patches + rng.integers(-20, 21, patches.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("weights")


@pytest.fixture(scope="module")
def fidelity_file(folder):
    return write_fidelity_inception(folder / "fidelity.pth")


@pytest.fixture(scope="module")
def fidelity(fidelity_file):
    return FidelityInception(fidelity_file)


@pytest.fixture(scope="module")
def gfla_file(folder):
    return write_torchvision_inception(folder / "torchvision.pth")


@pytest.fixture(scope="module")
def gfla(gfla_file):
    return GflaInception(gfla_file)


@pytest.fixture(scope="module")
def alexnet_file(folder):
    return write_alexnet(folder / "alexnet.pth")


# ---- torch-fidelity, from files on disk to numbers


def write_folder(folder, images):
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number:03}.png")
    return str(folder)


def library_metrics(weights, real, generated, tmp_path, **metrics):
    from torch_fidelity import calculate_metrics

    return calculate_metrics(
        input1=write_folder(tmp_path / "generated", generated),
        input2=write_folder(tmp_path / "real", real),
        feature_extractor_weights_path=str(weights),
        cuda=False,
        batch_size=5,
        samples_shuffle=False,
        isc_splits=3,
        kid_subsets=4,
        kid_subset_size=5,
        cache=False,
        verbose=False,
        save_cpu_ram=True,
        **metrics,
    )


def test_inception_score_and_kid_as_torch_fidelity_computes_them(fidelity, fidelity_file, tmp_path):
    real, generated = pictures(6), pictures(7, seed=1) // 2
    expected = library_metrics(fidelity_file, real, generated, tmp_path, isc=True, kid=True)
    features = fidelity.features(generated)
    mean, deviation = inception_score(fidelity.logits_of(features), splits=3)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-6)
    assert deviation == pytest.approx(expected["inception_score_std"], rel=1e-4)
    mean, deviation = kernel_distance(features, fidelity.features(real), subsets=4, size=5, seed=2020)
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-5)  # theirs in single precision
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-3)


@pytest.mark.slow
def test_fid_as_torch_fidelity_computes_it(fidelity, fidelity_file, tmp_path):
    """Apart, because their eigenvalues of 2048 x 2048 take long."""
    real, generated = pictures(20), pictures(24, seed=1) // 2
    expected = library_metrics(fidelity_file, real, generated, tmp_path, fid=True)["frechet_inception_distance"]
    found = frechet_distance(*(moments(fidelity.features(side)) for side in (generated, real)))
    assert found == pytest.approx(expected, rel=1e-5)


def test_features_and_logits_as_torch_fidelitys_extractor(fidelity, fidelity_file):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    images = pictures(3)
    wanted = ["2048", "logits_unbiased"]
    extractor = FeatureExtractorInceptionV3("library", wanted, feature_extractor_weights_path=str(fidelity_file))
    features, logits = (part.numpy() for part in extractor(torch.from_numpy(images).permute(0, 3, 1, 2)))
    np.testing.assert_allclose(fidelity.features(images), features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fidelity.logits(images), logits, rtol=1e-4, atol=1e-5)
    assert features.std(axis=0).mean() > 0.01  # the random weights do tell images apart
    assert logits.std(axis=0).mean() > 0.01


# ---- GFLA


def test_gfla_feeds_the_unit_interval_where_normalised_images_are_expected(gfla, gfla_file):
    """The network in the usual way, on inputs that are prepared by hand, pixel by pixel scaled for each channel."""
    from torchvision.models import Inception3

    with torch.device("meta"):
        network = Inception3(transform_input=False, init_weights=False)
    network.load_state_dict(torch.load(gfla_file, weights_only=True), assign=True)
    network.fc = torch.nn.Identity()
    images = pictures(3)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    large = F.interpolate(planes, (299, 299), mode="bilinear", align_corners=False)
    means, deviations = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    scaled = [large[:, c] * (deviations[c] / 0.5) + (means[c] - 0.5) / 0.5 for c in range(3)]
    with torch.no_grad():
        expected = network.double().eval()(torch.stack(scaled, dim=1)).numpy()
    np.testing.assert_allclose(gfla.features(images), expected, rtol=1e-3, atol=1e-5)
    assert expected.std(axis=0).mean() > 0.003


@pytest.mark.parametrize(("count", "rows"), [(0, 0), (1, 1), (63, 63), (64, 64), (65, 64), (127, 64), (128, 128)])
def test_gfla_drops_the_last_batch_unless_it_is_full_or_the_only_one(count, rows):
    assert gfla_rows(count) == rows


# ---- LPIPS


def library_lpips(weights):
    """The package's own network; the trunk's layers are those of torchvision's `features` one after another."""
    import lpips

    network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    state = torch.load(weights, weights_only=True)
    slices = (getattr(network.net, f"slice{number}") for number in range(1, 6))
    for index, layer in enumerate(layer for part in slices for layer in part):
        if isinstance(layer, torch.nn.Conv2d):
            layer.weight.data = state[f"features.{index}.weight"]
            layer.bias.data = state[f"features.{index}.bias"]
    return network


@pytest.mark.filterwarnings("ignore::UserWarning:torchvision")  # of the way in which the package calls it
def test_lpips_as_the_package(alexnet_file):
    import lpips

    generated, real = pictures(4), pictures(4, seed=1)
    network = library_lpips(alexnet_file)
    with torch.no_grad():
        pairs = zip(generated, real, strict=True)
        expected = [network(*map(lpips.im2tensor, pair)).item() for pair in pairs]
    found = Lpips(alexnet_file)(generated, real)
    assert found.shape == (4,)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


def test_lpips_algebra(alexnet_file):
    lpips = Lpips(alexnet_file)
    real = pictures(3)
    assert lpips(real, real).tolist() == [0, 0, 0]
    noise = np.random.default_rng(2).standard_normal(real.shape)
    noisy = [np.clip(real + strength * noise, 0, 255).astype(np.uint8) for strength in (5, 20, 80)]
    distances = np.stack([lpips(images, real) for images in noisy])
    assert (np.diff(distances, axis=0) > 0).all()
    np.testing.assert_allclose(lpips(real, noisy[1]), distances[1], rtol=1e-6)


# ---- batches


def test_no_result_depends_on_the_batch(fidelity, gfla, alexnet_file, monkeypatch):
    images, others = pictures(5), pictures(5, seed=1)
    lpips = Lpips(alexnet_file)

    def everything():
        return fidelity.features(images), gfla.features(images), lpips(images, others)

    together = everything()
    monkeypatch.setattr(backbones, "BATCH", 2)
    for one, other in zip(together, everything(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_no_images_have_no_features(fidelity, alexnet_file):
    nothing = pictures(0)
    assert fidelity.features(nothing).shape == (0, 2048)
    assert fidelity.logits(nothing).shape == (0, 1008)
    assert Lpips(alexnet_file)(nothing, nothing).shape == (0,)


# ---- weights


def test_provenance(fidelity, gfla, alexnet_file, fidelity_file, gfla_file):
    for network, file in ((fidelity, fidelity_file), (gfla, gfla_file), (Lpips(alexnet_file), alexnet_file)):
        assert network.provenance["weights_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert {"network", "library", "version", "input"} <= network.provenance.keys()


def test_weights_are_found_in_torchs_cache_and_said_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    folder = tmp_path / "hub" / "checkpoints"
    for name, names in backbones.WEIGHTS.items():
        assert backbones.find(name) is None
        with pytest.raises(MissingWeights) as caught:
            backbones.require(name)
        assert str(caught.value) == f"weights missing, put {names[0]} at {folder}"
    folder.mkdir(parents=True)
    older = tmp_path / "alexnet-owt-4df8aa71.pth"
    older.touch()
    assert backbones.require("alexnet") == older
    preferred = folder / "alexnet-owt-7be5be79.pth"
    preferred.touch()
    assert backbones.find("alexnet") == preferred


@pytest.mark.parametrize("network", [FidelityInception, GflaInception, Lpips])
def test_files_that_are_no_weights(network, tmp_path):
    absent = tmp_path / "absent.pth"
    with pytest.raises(ValueError, match=r"absent\.pth: no such file; give the file"):
        network(absent)
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"not weights")
    with pytest.raises(ValueError, match=r"broken\.pth: cannot be read as weights"):
        network(broken)
    other = tmp_path / "other.pth"
    torch.save({"fc.weight": torch.zeros(2, 2)}, other)
    with pytest.raises(ValueError, match=r"other\.pth: not the weights of "):
        network(other)
    nested = tmp_path / "nested.pth"
    torch.save({"state_dict": {}}, nested)
    with pytest.raises(ValueError, match=r"nested\.pth: holds no plain weights"):
        network(nested)


class Payload:
    """What a hostile weights file does when it is unpickled without care."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("network", [FidelityInception, GflaInception, Lpips])
def test_weights_cannot_run_code(network, tmp_path):
    mark, file = tmp_path / "executed", tmp_path / "hostile.pth"
    torch.save({"fc.weight": Payload(mark)}, file)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        network(file)
    assert not mark.exists()


@pytest.mark.parametrize(("network", "module"), [(FidelityInception, "torch_fidelity"), (Lpips, "lpips")])
def test_an_absent_library_is_named(network, module, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"needs (lpips|torch-fidelity): pip install 'reid-augment\[metrics\]'"):
        network(tmp_path / "any.pth")


@pytest.mark.parametrize("name", backbones.WEIGHTS)
def test_weights_are_told_from_the_published_ones_by_the_digits_in_their_names(name):
    for file in backbones.WEIGHTS[name]:
        digits = file.removesuffix(".pth").rpartition("-")[2]
        assert backbones.stranger(name, digits + "0" * 56) is None
    told = backbones.stranger(name, "f" * 64)
    assert told is not None
    assert name in told
    assert "begins with ffffffff" in told
