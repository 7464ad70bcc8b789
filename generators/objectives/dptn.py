"""How DPTN is trained: two tasks, VGG19 losses, a least-squares discriminator (arXiv 2203.02910, section 3.4).

And DPTN-TA, which adds the texture affinity loss. Its authors replaced the discriminator at the same time; here loss
and discriminator are options of their own, so that an ablation can tell them apart. Weights are those of the code's
Market-1501 and DeepFashion command lines.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from generators.affinity import AFFINITY_LAYERS, affinity_loss
from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig
from generators.dptn import DPTN
from generators.losses import CONTENT_LAYERS, STYLE_LAYERS, content_loss, reconstruction, style_loss
from generators.objective import TINY_TRAINING, Batch, Objective, TrainingConfig
from generators.residual_discriminator import ResidualDiscriminator, ResidualDiscriminatorConfig
from generators.tensors import Images
from generators.vgg import VGG19Features

Features = Mapping[str, Tensor]


@dataclass(frozen=True)
class DPTNWeights:
    """Weights of the losses and the choice of the discriminator."""

    reconstruction: float = 2.0
    content: float = 0.5
    style: float = 500.0
    affinity: float = 0.0  # DPTN-TA: 100; of the target task only
    affinity_temperature: float = 1.0
    affinity_scaling: bool = False  # multiply by the number of positions, with which the published term shrinks
    adversarial: float = 5.0  # 0 trains without a discriminator
    target_share: float = 0.8  # of the loss without the adversarial term; the rest is the source-to-source task's
    gan: str = "lsgan"
    discriminator: str = "patch"  # DPTN's; residual: DPTN-TA's
    discriminator_width: int = 32
    discriminator_max_width: int = 128  # patch only
    discriminator_layers: int = 3  # patch only

    def __post_init__(self) -> None:
        if not 0 <= self.target_share <= 1:
            raise ValueError(f"target_share={self.target_share}: expected a share from 0 to 1")
        if not self.affinity_temperature > 0:
            raise ValueError(f"affinity_temperature={self.affinity_temperature}: expected above 0")
        if self.gan not in ("lsgan", "vanilla", "hinge"):
            raise ValueError(f"gan={self.gan!r}: expected lsgan, vanilla or hinge, which take logits")
        if self.discriminator not in ("patch", "residual"):
            raise ValueError(f"discriminator={self.discriminator!r}: expected patch or residual")


class DPTNObjective(Objective):
    """A step: both images, the discriminator's update, then the generator's against the updated discriminator."""

    schemes = ("orthogonal", "orthogonal")

    def __init__(
        self, generator: DPTN, weights: DPTNWeights, training: TrainingConfig, device: torch.device,
        features: VGG19Features | None = None,
    ) -> None:  # fmt: skip
        super().__init__(generator, weights, training, device, features)
        self.weights: DPTNWeights = weights
        self._both = self.compiled(generator.both)
        self._features = self.compiled(features) if features is not None else None
        self._learner = self.generator_learner(generator)
        self._adversary = None
        if weights.adversarial:
            judge = _discriminator(weights, generator.config.image_channels)
            self._adversary = self.adversary(judge, "discriminator", weights.gan)

    @staticmethod
    def vgg_layers(weights: DPTNWeights) -> tuple[str, ...]:
        terms = {CONTENT_LAYERS: weights.content, STYLE_LAYERS: weights.style, AFFINITY_LAYERS: weights.affinity}
        return tuple(dict.fromkeys(layer for layers, weight in terms.items() if weight for layer in layers))

    def step(self, batch: Batch, step: int, images_seen: int) -> dict[str, Tensor]:
        with self.autocast():
            fakes = self._both(batch.source, batch.source_map, batch.target_map)
        fake_target, fake_source = (fake.float() for fake in fakes)
        judged: dict[str, Tensor] = {}
        losses = self._losses(batch, fake_target, fake_source)
        if self._adversary is not None:
            judged = self._adversary.learn(batch.target, fake_target, step)
            losses["adversarial"] = self.weights.adversarial * self._adversary.judge(fake_target)
        return self._learner.update(losses) | judged

    def _losses(self, batch: Batch, fake_target: Images, fake_source: Images) -> dict[str, Tensor]:
        """The weighted losses of both tasks."""
        weights, share = self.weights, self.weights.target_share
        tasks = {"target": (fake_target, batch.target, share), "source": (fake_source, batch.source, 1 - share)}
        losses = {
            f"{name}_reconstruction": part * weights.reconstruction * reconstruction(fake, real)
            for name, (fake, real, part) in tasks.items()
        }
        if self._features is None:
            return losses
        with self.autocast():
            ours = _halves(self._features(torch.cat([fake_target, fake_source])))
            with torch.no_grad():
                theirs = _halves(self._features(torch.cat([batch.target, batch.source])))
            for (name, (_, _, part)), fake, real in zip(tasks.items(), ours, theirs, strict=True):
                if weights.content:
                    losses[f"{name}_content"] = part * weights.content * content_loss(fake, real)
                if weights.style:
                    losses[f"{name}_style"] = part * weights.style * style_loss(fake, real)
            if weights.affinity:
                losses["target_affinity"] = share * weights.affinity * self._affinity(ours[0], *theirs)
        return losses

    def _affinity(self, generated: Features, target: Features, source: Features) -> Tensor:
        return affinity_loss(
            generated, target, source, self.weights.affinity_temperature, self.weights.affinity_scaling
        )


def _discriminator(weights: DPTNWeights, channels: int) -> nn.Module:
    if weights.discriminator == "residual":
        return ResidualDiscriminator(
            ResidualDiscriminatorConfig(
                input_channels=channels, width=weights.discriminator_width, norm="instance", dropout=0.0, sigmoid=False
            )
        )
    return DPTNDiscriminator(
        DPTNDiscriminatorConfig(
            channels, weights.discriminator_width, weights.discriminator_max_width, weights.discriminator_layers
        )
    )


def _halves(features: Features) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The features of two images that went through the network as one batch."""
    pairs = {name: maps.chunk(2) for name, maps in features.items()}
    return {name: first for name, (first, _) in pairs.items()}, {name: second for name, (_, second) in pairs.items()}


_TINY = DPTNWeights(
    reconstruction=5.0,
    content=0.0,
    style=0.0,
    adversarial=0.25,
    discriminator_width=16,
    discriminator_max_width=64,
)
_PUBLISHED = TrainingConfig(discriminator_learning_rate=2e-5)
_DEEPFASHION = DPTNWeights(reconstruction=5.0, adversarial=2.0, target_share=0.5, discriminator_layers=4)
# 200 epochs of 101,966 pairs, of which the last 100 decay
_FASHION_TRAINING = TrainingConfig(images=200 * 101_966, batch=32, discriminator_learning_rate=2e-5, schedule="dptn")

PRESETS: dict[str, tuple[DPTNWeights, TrainingConfig]] = {
    "market": (DPTNWeights(), _PUBLISHED),
    "deepfashion": (_DEEPFASHION, _FASHION_TRAINING),
    "tiny": (_TINY, TINY_TRAINING),
}
TEXTURE_AFFINITY_PRESETS: dict[str, tuple[DPTNWeights, TrainingConfig]] = {
    "market": (DPTNWeights(affinity=100.0, discriminator="residual"), _PUBLISHED),
    "deepfashion": (replace(_DEEPFASHION, affinity=100.0, discriminator="residual"), _FASHION_TRAINING),
    "tiny": (replace(_TINY, affinity=100.0, discriminator="residual"), replace(TINY_TRAINING, features="random")),
}
