"""The adversary: a discriminator that owns its optimiser and is read-only in the generator's step."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from generators.losses import gan_loss
from generators.tensors import Images


class Adversary:
    """A discriminator, its optimiser and the GAN loss that both sides play (DPTN: least squares, logits)."""

    def __init__(self, discriminator: nn.Module, optimiser: torch.optim.Optimizer, mode: str = "lsgan") -> None:
        self.discriminator = discriminator
        self.optimiser = optimiser
        self.mode = mode

    def learn(self, real: Images, fake: Images) -> Float[Tensor, ""]:
        """One update of the discriminator: half the loss on real images plus half that on generated ones."""
        self.optimiser.zero_grad(set_to_none=True)
        loss = 0.5 * (
            gan_loss(self.discriminator(real), real=True, mode=self.mode, for_discriminator=True)
            + gan_loss(self.discriminator(fake.detach()), real=False, mode=self.mode, for_discriminator=True)
        )
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def judge(self, fake: Images) -> Float[Tensor, ""]:
        """The generator's loss: how far its images are from passing as real. Gradients reach the images only."""
        with self._read_only():
            return gan_loss(self.discriminator(fake), real=True, mode=self.mode, for_discriminator=False)

    @contextmanager
    def _read_only(self) -> Iterator[None]:
        self.discriminator.requires_grad_(False)
        try:
            yield
        finally:
            self.discriminator.requires_grad_(True)
