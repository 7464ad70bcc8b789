"""Names, optimisers and weight files."""

import numpy as np
import pytest
import safetensors.torch
import torch

from reid import torchreid_api


def test_an_unknown_model_gets_suggestions():
    with pytest.raises(ValueError, match=r"'osnet_x025' .* did you mean osnet_x0_25"):
        torchreid_api.build_model("osnet_x025", 4)


def test_every_optimiser_is_built_with_our_betas():
    model = torch.nn.Linear(2, 2)
    for name in torchreid_api.OPTIMISERS:
        optimiser = torchreid_api.build_optimiser(model, name, 0.1, 0.01)
        assert optimiser.param_groups[0].get("betas", (0.9, 0.999)) == (0.9, 0.999)


def weights_of(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def filled(model, value):
    return {key: torch.full_like(tensor, value) for key, tensor in weights_of(model).items()}


@pytest.fixture
def model():
    return torchreid_api.build_model("osnet_x0_25", 4)


def test_imagenet_weights_are_found_in_the_cache(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=r"checkpoints/osnet_x0_25_imagenet\.pth"):
        torchreid_api.imagenet_file("osnet_x0_25")
    path = tmp_path / "checkpoints" / "osnet_x0_25_imagenet.pth"
    path.parent.mkdir()
    weights = {"module." + key: value for key, value in filled(model, 2).items() if "classifier" not in key}
    torch.save(weights | {"module.classifier.weight": torch.zeros(1000, 512)}, path)
    before = model.classifier.weight.clone()
    torchreid_api.load_weights(model, torchreid_api.imagenet_file("osnet_x0_25"))
    assert (model.conv1.conv.weight == 2).all()
    assert torch.equal(model.classifier.weight, before)


def test_torchreids_own_checkpoints_load(model, tmp_path):
    state = {"state_dict": filled(model, 3), "epoch": 60, "rank1": np.float32(0.9), "optimizer": {"state": {}}}
    torchreid_api.torchreid().utils.save_checkpoint(dict(state), str(tmp_path))
    torchreid_api.load_weights(model, tmp_path / "model.pth.tar-60")
    assert (model.classifier.weight == 3).all()


def test_safetensors_load(model, tmp_path):
    safetensors.torch.save_file(filled(model, 4), tmp_path / "weights.safetensors")
    torchreid_api.load_weights(model, tmp_path / "weights.safetensors")
    assert (model.classifier.bias == 4).all()


def test_weights_of_another_model_are_an_error(model, tmp_path):
    torch.save(torchreid_api.build_model("osnet_x0_5", 4).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: holds .* of the .* tensors of this model"):
        torchreid_api.load_weights(model, tmp_path / "other.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(model, tmp_path, value):
    state = filled(model, 2)
    state["conv1.bn.running_var"][3] = value
    torch.save(state, tmp_path / "broken.pth")
    before = weights_of(model)
    for to_train in (False, True):
        with pytest.raises(ValueError, match=r"broken\.pth: conv1\.bn\.running_var holds values that are not finite"):
            torchreid_api.load_weights(model, tmp_path / "broken.pth", to_train=to_train)
    assert all(torch.equal(tensor, before[key]) for key, tensor in weights_of(model).items())


def test_what_is_left_out_and_what_stays_random(tmp_path):
    """Weights of a network with 6 more identities and a layer of its own."""
    torch.save(filled(torchreid_api.build_model("osnet_x0_25", 10), 2) | {"extra": torch.ones(1)}, tmp_path / "w.pth")
    model = torchreid_api.build_model("osnet_x0_25", 4)
    found = torchreid_api.read_weights(model, tmp_path / "w.pth", to_train=True)
    classifier = ("classifier.bias", "classifier.weight")
    assert (found.left, found.own) == ((*classifier, "extra"), classifier)
    assert found.taken.keys() == model.state_dict().keys() - set(classifier)
    assert all((value == 2).all() for value in found.taken.values())


class Evil:
    def __reduce__(self):
        return eval, ("1 / 0",)


def test_code_in_a_file_is_not_run(model, tmp_path):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ValueError, match="cannot be read as weights"):
        torchreid_api.load_weights(model, tmp_path / "evil.pth")


def test_a_broken_or_missing_file_is_named(model, tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"broken\.pth: cannot be read"):
        torchreid_api.load_weights(model, tmp_path / "broken.pth")
    with pytest.raises(ValueError, match="no such file"):
        torchreid_api.load_weights(model, tmp_path / "absent.pth")


def test_the_last_stride_doubles_the_last_maps():
    images = torch.zeros(1, 3, 64, 32)
    for name in ("resnet18", "resnet50"):
        model = torchreid_api.build_model(name, 4).eval()
        before = model.featuremaps(images).shape
        names = list(model.state_dict())
        torchreid_api.set_last_stride(model, 1)
        assert model.featuremaps(images).shape[2:] == (2 * before[2], 2 * before[3])
        assert list(model.state_dict()) == names
        torchreid_api.set_last_stride(model, 1)
    with pytest.raises(ValueError, match="last_stride 1: only residual networks"):
        torchreid_api.set_last_stride(torchreid_api.build_model("osnet_x0_25", 4), 1)


def test_resnet50_with_stride_one_is_torchreids_own():
    """torchreid builds resnet50_fc512 with that stride."""
    theirs = torchreid_api.build_model("resnet50_fc512", 4).eval()
    ours = torchreid_api.build_model("resnet50", 4).eval()
    torchreid_api.set_last_stride(ours, 1)
    body = {key: value for key, value in theirs.state_dict().items() if not key.startswith(("fc", "classifier"))}
    ours.load_state_dict(body, strict=False)
    images = torch.randn(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours.featuremaps(images), theirs.featuremaps(images))


def test_the_staged_rate_is_torchreids(model):
    plain = torchreid_api.build_optimiser(model, "adam", 0.1, 0.0)
    assert [group["scale"] for group in plain.param_groups] == [1.0]
    staged = torchreid_api.build_optimiser(model, "adam", 0.1, 0.0, base_rate=0.2, new_layers=("fc", "classifier"))
    rates = {id(one): group["lr"] for group in staged.param_groups for one in group["params"]}
    assert [group["scale"] for group in staged.param_groups] == [0.2, 1.0]
    for name, parameter in model.named_parameters():
        assert rates[id(parameter)] == pytest.approx(0.1 if name.startswith(("fc", "classifier")) else 0.02)
    with pytest.raises(ValueError, match=r"base_rate: the model has no layer head; name some of .*classifier"):
        torchreid_api.build_optimiser(model, "adam", 0.1, 0.0, base_rate=0.2, new_layers=("head",))


@pytest.mark.parametrize("name", torchreid_api.OPTIMISERS)
def test_a_fused_optimiser_differs_by_rounding_only(name):
    """On channels-last weights, whose gradients and moments must lie in memory alike; the bias learns from later on."""

    def updated(fused):
        random = torch.Generator().manual_seed(0)
        model = torch.nn.Conv2d(3, 8, 3).to(memory_format=torch.channels_last)
        with torch.no_grad():
            model.weight.copy_(torch.randn(8, 3, 3, 3, generator=random))
            model.bias.zero_()
        optimiser = torchreid_api.build_optimiser(model, name, 0.01, 5e-4, fused=fused)
        for step in range(10):
            model.bias.requires_grad_(step > 2)
            optimiser.zero_grad()
            images = torch.randn(2, 3, 8, 6, generator=random).contiguous(memory_format=torch.channels_last)
            model(images).square().sum().backward()
            optimiser.step()
        kept = {key for state in optimiser.state.values() for key, value in state.items() if value is not None}
        return model.weight.detach(), kept, optimiser.param_groups[0].get("fused")

    weights, kept, flag = updated(fused=True)
    plain, plain_kept, plain_flag = updated(fused=False)
    assert bool(flag) == (name in ("adam", "amsgrad"))
    assert not plain_flag
    assert kept == plain_kept
    torch.testing.assert_close(weights, plain, rtol=1e-4, atol=1e-5)
    assert (weights - torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(0))).abs().mean() > 0.02
