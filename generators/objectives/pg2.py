"""How PG2 is trained: G1 alone on L1, then G2 against a discriminator with G1 frozen (arXiv 1705.09368, section 3).

The L1 loss counts twice on the body of the target, the paper's pose mask loss. Where paper and published code differ,
the code's way is the default: its discriminator judges single images and takes the source, beside G2's image, for a
fake, which teaches it that a copy of the input is wrong. The paper's judges pairs of the source and another image.
Weights are those of the code for Market-1501 and DeepFashion.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from generators.dcgan_discriminator import DCGANDiscriminator, DCGANDiscriminatorConfig
from generators.learner import Learner
from generators.losses import Scalar, gan_loss, reconstruction
from generators.objective import TINY_TRAINING, Batch, Objective, TrainingConfig
from generators.pg2 import PG2, PG2Config, Stages
from generators.tensors import Images
from generators.vgg import VGG19Features


@dataclass(frozen=True)
class PG2Weights:
    """Weights of the losses, the length of the first stage, and the choice of the discriminator."""

    # Share of the images that G1 trains on: 22,000 batches; then 38,000 times one for G2 and one for its discriminator.
    first_stage: float = 22 / (22 + 2 * 38)
    reconstruction: float = 10.0  # beside the adversarial loss; without one it is alone and needs no weight
    adversarial: float = 1.0  # in the last stage's updates; 0 trains without a discriminator
    mask: bool = True  # count L1 once more on the target's body
    discriminator: str = "triplet"  # the code's: target against source and G2's image; pair: the paper's, see above
    discriminator_channels: int = 64  # of the first level; doubled up to three times
    discriminator_levels: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.first_stage < 1:
            raise ValueError(
                f"first_stage={self.first_stage}: expected a share from 0 to below 1; for G1 alone train a network of "
                "stages=1 with adversarial=0"
            )
        if self.discriminator not in ("triplet", "pair"):
            raise ValueError(f"discriminator={self.discriminator!r}: expected triplet or pair")


class PG2Objective(Objective):
    """A step is one update, on a batch of its own: G1's in the first stage, then G2's and the discriminator's in turn.

    A network of one stage goes on with G1 in the place of G2, the paper's G1+D; with adversarial=0 it is G1 alone.

    All images that the discriminator sees in an update go through it as one batch, so that its batch norm mixes them;
    in the triplet G1's image is among them, although no loss asks for its logit. With several processes each mixes its
    own share of the batch.
    """

    schemes = ("xavier", "uniform")
    needs_mask = True

    def __init__(
        self, generator: PG2, weights: PG2Weights, training: TrainingConfig, device: torch.device,
        features: VGG19Features | None = None,
    ) -> None:  # fmt: skip
        super().__init__(generator, weights, training, device, features)
        self.generator: PG2 = generator
        self.weights: PG2Weights = weights
        self._coarse = self.compiled(generator.coarse)
        self._coarse_learner = self.generator_learner(generator.coarse, "coarse")
        self._first_steps = math.ceil(round(weights.first_stage * training.images) / training.batch)
        if generator.refine is None:
            self._refine = None
            self._last_learner = self._coarse_learner
            if not weights.adversarial:
                self._first_steps = math.inf
        else:
            self._refine = self.compiled(generator.refine)
            self._last_learner = self.generator_learner(generator.refine, "refine")
        self._judge: Callable[[Tensor], Tensor] | None = None
        self._judge_learner: Learner | None = None
        if weights.adversarial:
            judge = DCGANDiscriminator(_discriminator(weights, generator.config))
            self._judge_learner = self.discriminator_learner(judge)
            self._judge = self.compiled(judge)

    @staticmethod
    def vgg_layers(weights: PG2Weights) -> tuple[str, ...]:
        return ()

    def step(self, batch: Batch, step: int, images_seen: int) -> dict[str, Tensor]:
        self.generator.check(batch.source, batch.target_map)
        late = step - self._first_steps
        self.generator.refining.fill_(late >= 0)
        if late < 0:
            return self._train_coarse(batch)
        if self._judge_learner is None or late % 2 == 0:
            return self._train_last_stage(batch)
        return self._train_discriminator(batch)

    def _train_coarse(self, batch: Batch) -> dict[str, Tensor]:
        with self.autocast():
            coarse = self._coarse(batch.source, batch.target_map).float()
        return self._coarse_learner.update({"coarse_reconstruction": self._reconstruction(coarse, batch)})

    def _train_last_stage(self, batch: Batch) -> dict[str, Tensor]:
        drawn = self._draw(batch)
        losses = {"reconstruction": self.weights.reconstruction * self._reconstruction(drawn.refined, batch)}
        if self._judge_learner is not None:
            with self._judge_learner.read_only():
                fake = self._logits(batch, drawn)[-1]
            losses["adversarial"] = self.weights.adversarial * _cross_entropy(fake, real=True)
        return self._last_learner.update(losses)

    def _train_discriminator(self, batch: Batch) -> dict[str, Tensor]:
        assert self._judge_learner is not None
        with torch.no_grad():
            drawn = self._draw(batch)
        target, *others = self._logits(batch, drawn)
        fakes = [others[0], others[-1]] if self.weights.discriminator == "triplet" else others
        wrong = torch.stack([_cross_entropy(fake, real=False) for fake in fakes]).mean()
        return self._judge_learner.update({"discriminator": 0.5 * (_cross_entropy(target, real=True) + wrong)})

    def _draw(self, batch: Batch) -> Stages:
        """Both stages' images, G1's as constants where G2 refines them."""
        with self.autocast():
            if self._refine is None:
                coarse = self._coarse(batch.source, batch.target_map).float()
                return Stages(coarse, coarse)
            with torch.no_grad():
                coarse = self._coarse(batch.source, batch.target_map).float()
            return Stages(coarse, coarse + self._refine(coarse, batch.source).float())

    def _logits(self, batch: Batch, drawn: Stages) -> tuple[Tensor, ...]:
        """Of the target first and of G2's image last; in the triplet those of source and G1's image in between."""
        assert self._judge is not None
        if self.weights.discriminator == "triplet":
            stages = [drawn.refined] if self._refine is None else [drawn.coarse, drawn.refined]
            shown = [batch.target, batch.source, *stages]
        else:
            shown = [torch.cat([batch.source, image], 1) for image in (batch.target, drawn.refined)]
        with self.autocast():
            return self._judge(torch.cat(shown)).float().chunk(len(shown))

    def _reconstruction(self, drawn: Images, batch: Batch) -> Scalar:
        """Mean absolute difference to the target plus, if asked for, that of the body's pixels over all pixels."""
        loss = reconstruction(drawn, batch.target)
        if not self.weights.mask:
            return loss
        if batch.target_mask is None:
            raise ValueError(
                "the pose mask loss needs the target's body mask in each batch; draw it, or set mask=False"
            )
        return loss + reconstruction(drawn * batch.target_mask, batch.target * batch.target_mask)


def _discriminator(weights: PG2Weights, network: PG2Config) -> DCGANDiscriminatorConfig:
    return DCGANDiscriminatorConfig(
        inputs=network.image_channels * (1 if weights.discriminator == "triplet" else 2),
        height=network.height,
        width=network.width,
        channels=weights.discriminator_channels,
        max_channels=8 * weights.discriminator_channels,
        levels=weights.discriminator_levels,
        padding=network.padding,
    )


def _cross_entropy(logits: Tensor, *, real: bool) -> Scalar:
    return gan_loss(logits, real, "vanilla", for_discriminator=not real)


_FASHION = PG2Weights(first_stage=22 / (22 + 2 * 58), reconstruction=50.0, discriminator_levels=5)
_TINY = PG2Weights(first_stage=0.5, adversarial=0.05, discriminator_channels=16)

PRESETS: dict[str, tuple[PG2Weights, TrainingConfig]] = {
    # 16 x (22,000 + 2 x 38,000)
    "market": (
        PG2Weights(),
        TrainingConfig(images=1_568_000, batch=16, learning_rate=2e-5, discriminator_learning_rate=2e-5),
    ),
    # 22,000 + 2 x 58,000 single images
    "deepfashion": (
        _FASHION,
        TrainingConfig(images=138_000, batch=1, learning_rate=2e-5, discriminator_learning_rate=2e-5),
    ),
    "tiny": (_TINY, replace(TINY_TRAINING, images=60_000)),
}
