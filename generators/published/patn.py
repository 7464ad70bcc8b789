"""PATN's published weights: the state dicts of Zhu et al. (arXiv 1904.03349), read into our generator.

Everything that shapes the network is read off the tensors, so a checkpoint of any of the authors' settings is taken.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from generators.patn import PATN, PATNConfig
from generators.residual_discriminator import ResidualDiscriminator, ResidualDiscriminatorConfig

_COUNTER = "num_batches_tracked"
_STATISTICS = ("running_mean", "running_var", _COUNTER)


def convert(state: Mapping[str, Tensor]) -> tuple[PATNConfig, dict[str, Tensor]]:
    """The configuration of the authors' generator and its weights under our names.

    Keys may carry `model.` (their files), `module.` (data-parallel training) or both. Running statistics of instance
    norms, which older files hold, are left out: the network never used them. Those of batch norms are kept; their
    counter, which torch before 0.4.1 did not write and only other momenta need, becomes zero where it is absent.

    Raises:
        ValueError: keys that are missing or unknown, or tensors of unfitting shape; all of them are listed.
    """
    clean = _unprefixed(state)
    config = _configuration(clean)
    with torch.device("meta"):
        network = PATN(config)
    return config, _fitted("PATN generator", clean, _generator_names(config, clean), network)


def convert_discriminator(state: Mapping[str, Tensor], config: ResidualDiscriminatorConfig) -> dict[str, Tensor]:
    """The weights of a discriminator of PATN's or DPTN-TA's authors under our names; prefixes as in `convert`.

    Raises:
        ValueError: as in `convert`.
    """
    clean = _unprefixed(state)
    first = 3 * (config.downsamplings + 1) + 1
    names: dict[str, str] = {}
    for level in range(config.downsamplings + 1):
        names |= {f"{1 + 3 * level}": f"encoder.{level}.conv", f"{2 + 3 * level}": f"encoder.{level}.norm"}
    for i in range(config.blocks):
        names |= _branch_names(f"{first + i}.conv_block", f"blocks.{i}", dropout=config.dropout > 0)
    with torch.device("meta"):
        network = ResidualDiscriminator(config)
    return _fitted("residual discriminator", clean, names, network)


def _unprefixed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    clean: dict[str, Tensor] = {}
    for key, tensor in state.items():
        short = key.removeprefix("module.").removeprefix("model.")
        if short in clean:
            raise ValueError(f"{key}: a second tensor of this name, under another prefix")
        clean[short] = tensor
    return clean


def _configuration(clean: dict[str, Tensor]) -> PATNConfig:
    """What the tensors tell; where one is missing, the published value, so that all else can be checked."""
    default = PATNConfig()
    image, pose = (_shape(clean.get(f"stream{i}_down.1.weight")) for i in (1, 2))
    blocks = [int(found[1]) for key in clean if (found := re.match(r"att\.(\d+)\.", key))]
    strided = [int(found[1]) for key in clean if (found := re.match(r"stream[12]_down\.(\d+)\.weight", key))]
    return PATNConfig(
        image_channels=image[1] if image else default.image_channels,
        pose_channels=max(1, pose[1] // 2) if pose else default.pose_channels,
        width=(image or pose or (default.width,))[0],
        blocks=max(blocks, default=default.blocks - 1) + 1,
        downsamplings=max(1, (max(strided, default=7) - 1) // 3),
        norm="instance" if any(f"stream{i}_down.1.bias" in clean for i in (1, 2)) else "batch",
        dropout=0.0 if _second_conv(clean) == 5 else default.dropout,
    )


def _shape(tensor: Tensor | None) -> tuple[int, ...] | None:
    """Of a convolution's weight."""
    return tuple(tensor.shape) if tensor is not None and tensor.ndim == 4 else None


def _second_conv(clean: dict[str, Tensor]) -> int:
    """The index of a branch's second convolution: dropout, where the network was built with it, occupies one."""
    return 5 if any(re.match(r"att\.\d+\.conv_block_stream[12]\.5\.weight", key) for key in clean) else 6


def _generator_names(config: PATNConfig, clean: dict[str, Tensor]) -> dict[str, str]:
    """The authors' name of a module -> ours."""
    names: dict[str, str] = {}
    dropout = _second_conv(clean) == 6
    for stream, encoder in ((1, "image_encoder"), (2, "pose_encoder")):
        for level in range(config.downsamplings + 1):
            names[f"stream{stream}_down.{1 + 3 * level}"] = f"{encoder}.{level}.conv"
            names[f"stream{stream}_down.{2 + 3 * level}"] = f"{encoder}.{level}.norm"
        for i in range(config.blocks):
            branch = "image" if stream == 1 else "pose"
            names |= _branch_names(f"att.{i}.conv_block_stream{stream}", f"blocks.{i}.{branch}", dropout=dropout)
    for level in range(config.downsamplings):
        names[f"stream1_up.{3 * level}"] = f"decoder.{level}.conv"
        names[f"stream1_up.{3 * level + 1}"] = f"decoder.{level}.norm"
    names[f"stream1_up.{3 * config.downsamplings + 1}"] = f"decoder.{config.downsamplings}"
    return names


def _branch_names(theirs: str, ours: str, *, dropout: bool) -> dict[str, str]:
    second = 6 if dropout else 5
    indices = {"conv1": 1, "norm1": 2, "conv2": second, "norm2": second + 1}
    return {f"{theirs}.{index}": f"{ours}.{name}" for name, index in indices.items()}


def _fitted(kind: str, clean: dict[str, Tensor], names: dict[str, str], network: nn.Module) -> dict[str, Tensor]:
    """The tensors of `clean` under our names, if they are those of `network`, all of them and no others."""
    theirs = {ours: name for name, ours in names.items()}
    expected = network.state_dict()
    keys = {ours: f"{theirs[ours.rpartition('.')[0]]}.{ours.rpartition('.')[2]}" for ours in expected}
    norms = [name for name, part in network.named_modules() if isinstance(part, nn.InstanceNorm2d)]
    unused = {f"{theirs[norm]}.{statistic}" for norm in norms for statistic in _STATISTICS}

    missing = sorted(key for key in keys.values() if key not in clean and not key.endswith(_COUNTER))
    unknown = sorted(clean.keys() - keys.values() - unused)
    misshapen = sorted(
        f"{key} {list(clean[key].shape)} for {list(expected[ours].shape)}"
        for ours, key in keys.items()
        if key in clean and clean[key].shape != expected[ours].shape
    )
    problems = {"missing": missing, "unknown": unknown, "of unfitting shape": misshapen}
    if any(problems.values()):
        found = "; ".join(f"{len(listed)} {what}: {', '.join(listed)}" for what, listed in problems.items() if listed)
        raise ValueError(f"not a {kind} of the authors' code, or not a whole one: {found}")
    # A zero of its own for each counter: safetensors refuses tensors that share memory.
    return {ours: clean[key] if key in clean else torch.zeros((), dtype=torch.long) for ours, key in keys.items()}
