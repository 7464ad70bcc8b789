"""What the discriminators of a finished training say of images: how real they look, beside what they must fit.

Each is shown what its paper shows it: DPTN's the image alone, PATN's the image beside the source image (appearance) and
beside the target pose (shape), PG2's the image alone or, where it was trained on pairs, beside the source image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators import vgg
from generators.objective import TrainingConfig
from generators.objectives.dptn import DPTNWeights
from generators.objectives.patn import PATNWeights
from generators.objectives.pg2 import PG2Weights
from generators.registry import Recipe, create_recipe
from generators.tensors import Images, PoseMaps

NETWORK = "network"  # prefix of the discriminators' tensors in a training's checkpoint
PROBABILITY = "probability of being real"
# What the mean of a discriminator's outputs is, by the loss that it was trained with.
MEANINGS = {
    "bce": PROBABILITY,
    "vanilla": PROBABILITY,
    "lsgan": "regression of 0 (generated) and 1 (real)",
    "hinge": "margin, above 0 towards real",
}
Inputs = Callable[[Images, Images, PoseMaps], Float[Tensor, "b c h w"]]


@final
@dataclass(frozen=True)
class Critic:
    """The discriminators of one training, in evaluation mode."""

    judges: Mapping[str, nn.Module]
    inputs: Mapping[str, Inputs]  # what each is shown, of (image, source image, target pose map)
    gan: str
    pose_map: str  # how joints are drawn: gaussian or disc
    company: int | None  # how many images must be judged together; None where each is judged for itself

    @property
    def meaning(self) -> str:
        """What a score is."""
        return MEANINGS[self.gan]

    @torch.inference_mode()
    def __call__(self, image: Images, source: Images, target_map: PoseMaps) -> Float[Tensor, " b"]:
        """Of each image the mean over the discriminators, and of each of these the mean over its outputs.

        A network whose batch norm keeps no running statistics sees the real source images in the same batch, as in its
        training: by statistics of their own, generated images would be average whatever they look like.
        """
        found = []
        for name, judge in self.judges.items():
            shown = self.inputs[name](image, source, target_map)
            if self.company is not None:
                shown = torch.cat([self.inputs[name](source, source, target_map), shown])
            outputs = judge(shown)[-len(image) :].float().reshape(len(image), -1)
            found.append((outputs.sigmoid() if self.gan == "vanilla" else outputs).mean(1))
        return torch.stack(found).mean(0)


def restore_recipe(config: Mapping[str, Any]) -> Recipe:
    """The recipe of a training from the configuration in its run folder, to judge with: in fp32, not compiled.

    Raises:
        ValueError: an option is missing, unknown or unsuitable.
    """
    options = [field.name for field in fields(TrainingConfig)]
    missing = [name for name in ("model", "preset", "network", "losses", *options) if name not in config]
    if missing:
        raise ValueError(f"its configuration lacks {', '.join(missing)}; was it trained by another version?")
    training = {name: config[name] for name in options} | {"precision": "fp32", "compile": False}
    network, losses = config["network"], config["losses"]
    return create_recipe(config["model"], config["preset"], network=network, weights=losses, training=training)


def create_critic(recipe: Recipe, tensors: Mapping[str, Tensor], device: torch.device) -> Critic:
    """The discriminators of a recipe with the weights of its training's checkpoint.

    Raises:
        ValueError: the training had no discriminator, or the tensors are not its discriminators'.
    """
    system, layers = recipe.system, recipe.vgg_layers
    assert system.objective is not None, "only systems with an objective have recipes"
    with torch.device("meta"):  # the generator is part of an objective, but judges nothing
        generator = system.generator(recipe.network)
    features = vgg.random_vgg19(layers, 0) if layers else None  # as little
    objective = system.objective(generator, recipe.weights, recipe.training, device, features)
    judges = objective.discriminators
    if not judges:
        raise ValueError("was trained without a discriminator")
    for name, judge in judges.items():
        prefix = f"{NETWORK}.{name}."
        weights = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
        try:
            judge.load_state_dict(weights)
        except RuntimeError as error:
            found = " ".join(str(error).split())[:160]
            raise ValueError(f"its checkpoint does not hold the weights of its {name} ({found})") from None
        judge.eval().requires_grad_(False)
    inputs, gan = _way(recipe.weights)
    together = any(_normalised_by_batch(judge) for judge in judges.values())
    company = recipe.training.batch if together else None
    return Critic(judges, {name: inputs[name] for name in judges}, gan, generator.pose_map, company)


def _way(weights: object) -> tuple[dict[str, Inputs], str]:
    """What each discriminator of an objective is shown, and its adversarial loss."""
    match weights:
        case DPTNWeights():
            return {"discriminator": _alone}, weights.gan
        case PATNWeights():
            return {"appearance_discriminator": _before_source, "shape_discriminator": _before_pose}, weights.gan
        case PG2Weights():
            return {"discriminator": _alone if weights.discriminator == "triplet" else _after_source}, "vanilla"
    raise AssertionError(f"no critic for {type(weights).__name__}")


def _normalised_by_batch(network: nn.Module) -> bool:
    return any(isinstance(m, nn.BatchNorm2d) and not m.track_running_stats for m in network.modules())


def _alone(image: Images, source: Images, target_map: PoseMaps) -> Float[Tensor, "b c h w"]:
    return image


def _before_source(image: Images, source: Images, target_map: PoseMaps) -> Float[Tensor, "b c h w"]:
    return torch.cat([image, source], 1)


def _before_pose(image: Images, source: Images, target_map: PoseMaps) -> Float[Tensor, "b c h w"]:
    return torch.cat([image, target_map], 1)


def _after_source(image: Images, source: Images, target_map: PoseMaps) -> Float[Tensor, "b c h w"]:
    return torch.cat([source, image], 1)
