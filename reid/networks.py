"""The network that a configuration describes: torchreid's model, the weights it starts from, stride and neck."""

from pathlib import Path

import torch
from torch import nn

from reid import torchreid_api
from reid.configuration import ReidConfig
from reid.necks import BNNeck

USUAL_SIZE = (256, 128)  # of re-ID networks, in pixels


def build_network(config: ReidConfig, num_classes: int, weights: Path | None = None) -> nn.Module:
    """The network, drawn from torch's global generator where `weights` (or None) leave it open.

    Raises:
        ValueError: an unknown model, one that cannot have the neck or the stride, or weights of another one.
    """
    if config.loss == "triplet" or config.neck == "bnneck":
        model = torchreid_api.build_model(config.model, num_classes, features=True)
    else:
        model = torchreid_api.build_model(config.model, num_classes)
    if weights is not None:
        torchreid_api.load_weights(model, weights, to_train=True)
    if config.last_stride is not None:
        torchreid_api.set_last_stride(model, config.last_stride)
    return BNNeck(model, features=config.loss == "triplet") if config.neck == "bnneck" else model


def require_possible(config: ReidConfig) -> None:
    """Refuse a network that cannot be built, or whose layers have other names, before hours of other work.

    Raises:
        ValueError: see `build_network`.
    """
    with torch.device("meta"):
        network = build_network(config, 2)
    for option, used in (("classifier_epochs", config.classifier_epochs > 0), ("base_rate", config.base_rate != 1)):
        if used:
            torchreid_api.require_layers(network, config.new_layers, option)


def require_size(model: str, height: int, width: int) -> None:
    """Refuse images that a network of torchreid's cannot take, mostly because its maps would shrink to nothing.

    What is no model of torchreid's, or one of a single size, is refused elsewhere (`build_network`, `ReidConfig`).

    Raises:
        ValueError: with a size that it takes.
    """
    if model not in torchreid_api.model_names() or model in torchreid_api.FIXED_SIZES:
        return
    with torch.device("meta"):
        network = torchreid_api.build_model(model, 2).train()
    if _takes(network, height, width):
        return
    larger = [(max(height, least), max(width, least // 2)) for least in (16, 32, 64, 128, 256)]
    taken = next((size for size in [*larger, USUAL_SIZE] if _takes(network, *size)), None)
    if taken is not None:  # of a network that takes none without memory nothing is known
        raise ValueError(
            f"size {height}x{width}: {model} cannot take images of this size; {taken[0]}x{taken[1]} would do"
        )


def _takes(network: nn.Module, height: int, width: int) -> bool:
    """Whether a network without memory, on the device `meta`, has a shape for each of its maps."""
    try:
        with torch.no_grad():
            network(torch.empty(2, 3, height, width, device="meta"))
    except (RuntimeError, ValueError, AssertionError):  # torch's, and those of the networks themselves
        return False
    return True


def starting_weights(config: ReidConfig, num_classes: int) -> torchreid_api.Weights | None:
    """What the network takes from the file that a training starts from; None where it starts from random weights.

    Raises:
        ValueError: the file is not readable, not finite, or of another model.
    """
    path = initial_weights(config)
    if path is None:
        return None
    with torch.device("meta"):
        model = torchreid_api.build_model(config.model, num_classes)
    return torchreid_api.read_weights(model, path, to_train=True)


def initial_weights(config: ReidConfig) -> Path | None:
    """The file that a training starts from; None where it starts from random weights.

    Raises:
        ValueError: ImageNet weights are asked for and in none of the usual places.
    """
    if config.init == "random":
        return None
    return torchreid_api.imagenet_file(config.model) if config.init == "imagenet" else Path(config.init)
