"""DPTN's published checkpoints (Zhang et al., CVPR 2022): the authors' state dicts turned into ours.

Sizes are read off the names and shapes. The prefix `module.` (data-parallel training) and the older name `transformer`
of `PTM` are understood. Some convolutions have two names in theirs; either will do. DPTN-TA's generator is the same.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig
from generators.dptn import DPTN, DPTNConfig


def convert(state: Mapping[str, Tensor], heads: int = 2) -> tuple[DPTNConfig, dict[str, Tensor]]:
    """Configuration and weights of the authors' generator; the number of heads leaves no trace in a state dict.

    Raises:
        ValueError: listing every tensor that is missing, unknown, wrongly shaped or contradicts its second name; or
            the heads do not divide the channels.
    """
    clean = _plain_names(state)
    config = _generator_config(clean, heads)
    modules, attentions, aliases = _generator_modules(config)
    kinds = ("weight", "bias")
    names = {f"{theirs}.{kind}": f"{ours}.{kind}" for theirs, ours in modules.items() for kind in kinds}
    names |= {f"{theirs}.in_proj_{kind}": f"{ours}.in_{kind}" for theirs, ours in attentions.items() for kind in kinds}
    seconds = {f"{second}.{kind}": f"{theirs}.{kind}" for second, theirs in aliases.items() for kind in kinds}
    with torch.device("meta"):
        network = DPTN(config)
    return config, _renamed("DPTN generator", clean, names, seconds, network)


def convert_discriminator(state: Mapping[str, Tensor]) -> tuple[DPTNDiscriminatorConfig, dict[str, Tensor]]:
    """Configuration and weights of the authors' discriminator, with spectral norm.

    Raises:
        ValueError: listing every tensor that is missing, unknown or wrongly shaped.
    """
    clean = _plain_names(state)
    config = _discriminator_config(clean)
    modules = {"conv": "head"}
    for level in range(config.layers):
        theirs, ours = (f"encoder{level - 1}" if level else "block0"), f"blocks.{level}"
        convs = ("model.1", "model.3") if level else ("model.0", "model.2")
        modules |= {f"{theirs}.{convs[0]}": f"{ours}.conv1", f"{theirs}.{convs[1]}": f"{ours}.conv2"}
        modules[f"{theirs}.shortcut.1"] = f"{ours}.shortcut"
    kinds = {"weight_orig": "weight", "bias": "bias", "weight_u": "u", "weight_v": "v"}
    names = {f"{theirs}.{kind}": f"{ours}.{kinds[kind]}" for theirs, ours in modules.items() for kind in kinds}
    with torch.device("meta"):
        network = DPTNDiscriminator(config)
    return config, _renamed("DPTN discriminator", clean, names, {}, network)


def _plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without prefix and older spelling."""
    clean: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = re.sub(r"^transformer\.", "PTM.", key.removeprefix("module."))
        if name in clean:
            raise ValueError(f"{name}: there twice, under the older and the newer name or with and without `module.`")
        clean[name] = tensor
    return clean


def _generator_config(state: Mapping[str, Tensor], heads: int) -> DPTNConfig:
    """What names and shapes say; where they say nothing, the published value, so that all that is missing is listed."""
    published = DPTNConfig()
    layers = max(_count(state, "encoder") + 1, _count(state, "source_encoder.encoder") + 1, _count(state, "decoder"))
    widths = _widths(state, layers, published.width)
    image_channels = _inputs(state, "source_encoder.block0.model.0.weight", published.image_channels)
    inputs = _inputs(state, "block0.model.0.weight", image_channels + 2 * published.pose_channels)
    return DPTNConfig(
        image_channels=image_channels,
        pose_channels=max(1, (inputs - image_channels) // 2),
        width=widths[0],
        max_width=_largest(widths, published.max_width),
        layers=layers,
        residual_blocks=_count(state, "mblock"),
        heads=heads,
        context_blocks=_count(state, "PTM.encoder.layers."),
        transfer_blocks=_count(state, "PTM.decoder.layers."),
    )


def _discriminator_config(state: Mapping[str, Tensor]) -> DPTNDiscriminatorConfig:
    published = DPTNDiscriminatorConfig()
    layers = _count(state, "encoder") + 1
    widths = _widths(state, layers, published.width)
    image_channels = _inputs(state, "block0.model.0.weight_orig", published.image_channels)
    return DPTNDiscriminatorConfig(image_channels, widths[0], _largest(widths, published.max_width), layers)


def _count(state: Mapping[str, Tensor], block: str) -> int:
    """How many numbered blocks of this name there are."""
    pattern = re.compile(rf"{re.escape(block)}(\d+)\.")
    return len({found[1] for key in state if (found := pattern.match(key))})


def _widths(state: Mapping[str, Tensor], layers: int, default: int) -> list[int]:
    """Channels that come out of each level: the most common first side of its tensors, which one wrong cannot move."""
    widths = []
    for block in ("block0.", *(f"encoder{i}." for i in range(layers - 1))):
        sides = Counter(t.shape[0] for key, t in state.items() if key.startswith(block) and t.ndim)
        widths.append(max(1, sides.most_common(1)[0][0]) if sides else default)
    return widths


def _largest(widths: Sequence[int], published: int) -> int:
    """`max_width` as published where the levels never reach it, else where they stop growing."""
    doubled = [widths[0] * 2**level for level in range(len(widths))]
    return published if list(widths) == doubled and widths[-1] <= published else max(widths[0], widths[-1])


def _inputs(state: Mapping[str, Tensor], convolution: str, default: int) -> int:
    """Channels that a convolution reads."""
    weight = state.get(convolution)
    return weight.shape[1] if weight is not None and weight.ndim == 4 and weight.shape[1] else default


def _generator_modules(config: DPTNConfig) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The authors' names -> ours of modules with weight and bias, and of attentions; their second names -> first."""
    first = {"model.0": "conv1", "model.1": "norm2", "model.3": "conv2"}
    later = {"model.0": "norm1", "model.2": "conv1", "model.3": "norm2", "model.5": "conv2"}
    layer = {"linear1": "feed_forward.linear1", "linear2": "feed_forward.linear2", "norm1": "norm1", "norm2": "norm2"}
    modules: dict[str, str] = {"outconv.model.2": f"decoder.{config.layers}.conv", "PTM.decoder.norm": "transfer_norm"}
    attentions: dict[str, str] = {}
    aliases = {"outconv.conv1": "outconv.model.2"}

    def add(theirs: str, ours: str, parts: dict[str, str]) -> None:
        modules.update({f"{theirs}.{part}": f"{ours}.{name}" for part, name in parts.items()})

    for prefix, encoder in (("", "encoder"), ("source_encoder.", "source_encoder")):
        add(f"{prefix}block0", f"{encoder}.0", first)
        for i in range(config.layers - 1):
            add(f"{prefix}encoder{i}", f"{encoder}.{i + 1}", later)
    for i in range(config.residual_blocks):
        add(f"mblock{i}", f"encoder.{config.layers + i}", later | {"shortcut.0": "shortcut"})
        seconds = {"conv1": "model.2", "conv2": "model.5", "bypass": "shortcut.0"}
        aliases |= {f"mblock{i}.{second}": f"mblock{i}.{name}" for second, name in seconds.items()}
    for i in range(config.layers):
        add(f"decoder{i}", f"decoder.{i}", later | {"shortcut.0": "shortcut"})
    for i in range(config.context_blocks):
        add(f"PTM.encoder.layers.{i}", f"context.{i}", layer)
        attentions[f"PTM.encoder.layers.{i}.self_attn"] = f"context.{i}.attention"
    for i in range(config.transfer_blocks):
        add(f"PTM.decoder.layers.{i}", f"transfer.{i}", layer | {"norm3": "norm3"})
        attentions[f"PTM.decoder.layers.{i}.self_attn"] = f"transfer.{i}.self_attention"
        attentions[f"PTM.decoder.layers.{i}.multihead_attn"] = f"transfer.{i}.cross_attention"
    return modules | {f"{theirs}.out_proj": f"{ours}.out" for theirs, ours in attentions.items()}, attentions, aliases


def _renamed(
    what: str, state: Mapping[str, Tensor], names: dict[str, str], aliases: dict[str, str], network: nn.Module
) -> dict[str, Tensor]:
    """The tensors under our names, in our order; none is left out or taken silently."""
    if not state.keys() & names.keys():
        found = f"its {len(state)} tensors begin with {next(iter(state))}" if state else "it is empty"
        raise ValueError(f"no {what}: not one of its names is there; {found}")
    chosen = {first: state[second] for second, first in aliases.items() if second in state} | dict(state)
    shapes = {ours: tensor.shape for ours, tensor in network.state_dict().items()}
    problems = {
        "missing": sorted(names.keys() - chosen.keys()),
        "unknown": sorted(state.keys() - names.keys() - aliases.keys()),
        "wrongly shaped": [
            f"{theirs} {tuple(chosen[theirs].shape)}, expected {tuple(shapes[ours])}"
            for theirs, ours in names.items()
            if theirs in chosen and chosen[theirs].shape != shapes[ours]
        ],
        "unlike their first name": [
            f"{second} ({first})"
            for second, first in aliases.items()
            if second in state and not torch.equal(state[second].float(), chosen[first].float())
        ],
    }
    texts = [f"{len(keys)} {kind} ({'; '.join(keys)})" for kind, keys in problems.items() if keys]
    if texts:
        raise ValueError(f"no complete {what}: {', '.join(texts)}")
    named = {ours: chosen[theirs] for theirs, ours in names.items()}
    return {ours: named[ours] for ours in shapes}
