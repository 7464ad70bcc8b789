"""Seeded random weights in the layouts of published files, strong enough that features differ from image to image."""

from pathlib import Path

import torch
from torch import Tensor, nn


def write_fidelity_inception(path: Path, seed: int = 0) -> Path:
    """As torch-fidelity's weights-inception-2015-12-05."""
    from torch_fidelity.feature_extractor_inceptionv3 import BasicConv2d, FeatureExtractorInceptionV3

    # The library's network wants a file when it is made; its keys and shapes come from one made without.
    class Layout(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_):
            return None

    empty = path.with_suffix(".empty")
    torch.save({}, empty)
    network = Layout("layout", ["2048"], feature_extractor_weights_path=empty)
    empty.unlink()
    assert isinstance(network.Conv2d_1a_3x3, BasicConv2d)
    return _write(network.state_dict(), path, seed)


def write_torchvision_inception(path: Path, seed: int = 0) -> Path:
    """As torchvision's inception_v3_google."""
    from torchvision.models import Inception3

    with torch.device("meta"):
        network = Inception3(init_weights=False)
    return _write(network.state_dict(), path, seed)


def write_alexnet(path: Path, seed: int = 0) -> Path:
    """As torchvision's alexnet-owt; the classifier's 220 MB repeat a single zero."""
    from torchvision.models import alexnet

    with torch.device("meta"):
        network = alexnet()
    state = network.state_dict()
    features = {key: value for key, value in state.items() if key.startswith("features.")}
    classifier = {key: torch.zeros(1).expand(value.shape) for key, value in state.items() if key not in features}
    return _write(features, path, seed, classifier)


def _write(layout: dict[str, Tensor], path: Path, seed: int, more: dict[str, Tensor] | None = None) -> Path:
    rng = torch.Generator().manual_seed(seed)
    state = {}
    for key, like in layout.items():
        value = torch.zeros(like.shape, dtype=like.dtype)
        if value.ndim >= 2:
            nn.init.kaiming_normal_(value, nonlinearity="relu", generator=rng)
        elif key.endswith(("running_var", "bn.weight")):
            value.uniform_(0.8, 1.2, generator=rng)
        elif value.is_floating_point():
            value.normal_(0, 0.1, generator=rng)
        state[key] = value
    torch.save(state | (more or {}), path)
    return path
