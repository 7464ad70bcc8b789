"""How PATN is trained: L1, a shallow perceptual loss and two discriminators (arXiv 1904.03349).

The appearance discriminator sees an image beside the source image, the shape discriminator beside the target pose.
Where paper and published code differ, the code's way is kept. Weights are those of its Market-1501 and DeepFashion
command lines.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from generators import distributed
from generators.learner import Adversary
from generators.losses import PERCEPTUAL_LAYER, imagenet_normalised, perceptual_loss, reconstruction
from generators.objective import TINY_TRAINING, Batch, Objective, TrainingConfig
from generators.patn import PATN
from generators.residual_discriminator import ResidualDiscriminator, ResidualDiscriminatorConfig
from generators.tensors import Images, Maps
from generators.vgg import VGG19Features


@dataclass(frozen=True)
class PATNWeights:
    """Weights of the losses and the shape of the discriminators."""

    reconstruction: float = 10.0
    perceptual: float = 10.0
    perceptual_distance: str = "l1"  # or l2
    adversarial: float = 5.0  # shared by the discriminators that are on; 0 trains without any
    gan: str = "bce"  # or lsgan, for which the discriminators end without a sigmoid
    appearance: bool = True  # the discriminator of image and source image
    shape: bool = True  # the discriminator of image and target pose
    pool: int = 50  # generated images in the history of each discriminator
    discriminator_width: int = 64
    discriminator_blocks: int = 3
    discriminator_norm: str = "batch"  # or instance
    discriminator_dropout: float = 0.5

    def __post_init__(self) -> None:
        if self.gan not in ("bce", "lsgan"):
            raise ValueError(f"gan={self.gan!r}: expected bce or lsgan")
        if self.perceptual_distance not in ("l1", "l2"):
            raise ValueError(f"perceptual_distance={self.perceptual_distance!r}: expected l1 or l2")
        if self.pool < 0:
            raise ValueError(f"pool={self.pool}: expected at least 0")

    def discriminator(self, input_channels: int) -> ResidualDiscriminatorConfig:
        return ResidualDiscriminatorConfig(
            input_channels,
            width=self.discriminator_width,
            blocks=self.discriminator_blocks,
            norm=self.discriminator_norm,
            dropout=self.discriminator_dropout,
            sigmoid=self.gan == "bce",
        )


class PATNObjective(Objective):
    """A step: the generator's update, then those of the discriminators of appearance and shape, all on one batch."""

    schemes = ("normal", "torch")

    def __init__(
        self, generator: PATN, weights: PATNWeights, training: TrainingConfig, device: torch.device,
        features: VGG19Features | None = None,
    ) -> None:  # fmt: skip
        super().__init__(generator, weights, training, device, features)
        self.weights: PATNWeights = weights
        self._draw = self.compiled(generator)
        self._features = self.compiled(features) if features is not None and weights.perceptual else None
        self._learner = self.generator_learner(generator)
        image, pose = generator.config.image_channels, generator.config.pose_channels
        self._adversaries: dict[str, Adversary] = {}
        for name, on, channels in (
            ("appearance", weights.appearance, 2 * image),
            ("shape", weights.shape, image + pose),
        ):
            if on and weights.adversarial:
                self._adversaries[name] = self.adversary(
                    ResidualDiscriminator(weights.discriminator(channels)),
                    f"{name}_discriminator",
                    weights.gan,
                    weights.adversarial,
                    weights.pool,
                )

    @staticmethod
    def vgg_layers(weights: PATNWeights) -> tuple[str, ...]:
        return (PERCEPTUAL_LAYER,) if weights.perceptual else ()

    def step(self, batch: Batch, step: int, images_seen: int) -> dict[str, Tensor]:
        with self.autocast():
            fake = self._draw(batch.source, batch.source_map, batch.target_map).float()
        beside = {"appearance": batch.source, "shape": batch.target_map}
        losses = self._losses(batch, fake)
        for name, adversary in self._adversaries.items():
            # The mean over the discriminators: each weighs half where there are two.
            judged = adversary.judge(_joined(fake, beside[name]))
            losses[f"{name}_adversarial"] = judged / len(self._adversaries)
        found = self._learner.update(losses)
        for name, adversary in self._adversaries.items():
            found |= adversary.learn(_joined(batch.target, beside[name]), _joined(fake, beside[name]).detach(), step)
        self._share_statistics()
        return found

    def _losses(self, batch: Batch, fake: Images) -> dict[str, Tensor]:
        """The weighted losses against the true image."""
        weights = self.weights
        losses = {"reconstruction": weights.reconstruction * reconstruction(fake, batch.target)}
        if self._features is not None:
            ours = self._shallow(self._features, fake)
            with torch.no_grad():
                theirs = self._shallow(self._features, batch.target)
            losses["perceptual"] = weights.perceptual * perceptual_loss(ours, theirs, weights.perceptual_distance)
        return losses

    def _shallow(self, features: VGG19Features, images: Images) -> dict[str, Tensor]:
        with self.autocast():
            return {layer: maps.float() for layer, maps in features(imagenet_normalised(images)).items()}

    @torch.no_grad()
    def _share_statistics(self) -> None:
        """Let all processes keep the mean of the running statistics, each of which saw its own share of the batch."""
        if distributed.world() == 1:
            return
        networks = (self.generator, *self.discriminators.values())
        buffers = [b for network in networks for b in network.buffers() if b.is_floating_point()]
        if buffers:
            flat = distributed.average(torch.cat([b.flatten() for b in buffers]))
            for buffer, mean in zip(buffers, flat.split([b.numel() for b in buffers]), strict=True):
                buffer.copy_(mean.view_as(buffer))


def _joined(image: Images, condition: Maps) -> Float[Tensor, "b d h w"]:
    """The image that is judged first, then what it must fit."""
    return torch.cat([image, condition], 1)


_FASHION = PATNWeights(reconstruction=1.0, perceptual=1.0, gan="lsgan", pool=0, discriminator_norm="instance")
_TINY = PATNWeights(
    reconstruction=5.0,
    perceptual=0.0,
    adversarial=0.25,
    discriminator_width=12,
    discriminator_blocks=1,
    discriminator_norm="instance",
    discriminator_dropout=0.0,
)
_IMAGES = 700 * 4_000  # 700 epochs, each of 4,000 pairs drawn at random

PRESETS: dict[str, tuple[PATNWeights, TrainingConfig]] = {
    "market": (PATNWeights(), TrainingConfig(images=_IMAGES, batch=32, schedule="patn")),
    "deepfashion": (_FASHION, TrainingConfig(images=_IMAGES, batch=7, schedule="patn")),
    "tiny": (_TINY, replace(TINY_TRAINING, images=50_000)),
}
