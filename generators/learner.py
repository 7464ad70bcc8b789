"""A network that learns: its optimiser and one guarded update; and the adversary, read-only to its opponent."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from generators import distributed
from generators.history import HistoryPool
from generators.losses import gan_loss


class Guard:
    """Notices what is not finite one step late, so that a GPU never waits for the question."""

    def __init__(self) -> None:
        self.images_seen = 0
        self._pending: list[tuple[int, list[str], Tensor, torch.cuda.Event | None]] = []

    def watch(self, values: dict[str, Tensor]) -> None:
        """Remember whether these scalars are finite."""
        finite = torch.stack([value.detach().float() for value in values.values()]).isfinite()
        copied = None
        if finite.is_cuda:
            finite = finite.to("cpu", non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        self._pending.append((self.images_seen, list(values), finite, copied))

    def check(self, since: int | None = None) -> None:
        """Judge what was watched before image number `since`; all of it without one.

        Raises:
            ValueError: a scalar was not finite; it is named.
        """
        ready = [each for each in self._pending if since is None or each[0] < since]
        self._pending = self._pending[len(ready) :]
        broken: dict[int, list[str]] = {}
        for images_seen, names, finite, copied in ready:
            if copied is not None:
                copied.synchronize()
            wrong = [name for name, fine in zip(names, finite.tolist(), strict=True) if not fine]
            if wrong:
                broken.setdefault(images_seen, []).extend(wrong)
        if broken:
            images_seen, names = next(iter(broken.items()))
            raise ValueError(
                f"{', '.join(names)} is not finite after {images_seen} images; what was saved before is good: "
                "train again in another folder at a lower learning rate, with gradients clipped, or in fp32"
            )


class Learner:
    """A network and its Adam, stepped with gradients averaged over the processes."""

    def __init__(
        self, name: str, network: nn.Module, learning_rate: float, momentum: float, guard: Guard, clip: float = 0.0
    ) -> None:
        """`momentum` is Adam's beta1 (beta2 is 0.999); `clip` the largest gradient norm, 0 for any."""
        self.name = name
        self.network = network
        self.learning_rate = learning_rate
        self.clip = clip
        self.guard = guard
        self.parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        fused = self.parameters[0].device.type in ("cpu", "cuda")
        self.optimiser = torch.optim.Adam(self.parameters, learning_rate, (momentum, 0.999), fused=fused)

    def set_factor(self, factor: float) -> None:
        """Learn at this share of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * factor

    def update(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """One step down the sum of `losses` (weighted scalars with gradients); returns them detached."""
        self.optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        distributed.average_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.clip or math.inf)
        self.guard.watch(losses | {f"gradient of {self.name}": norm})
        self.optimiser.step()
        return {name: loss.detach() for name, loss in losses.items()}

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Gradients pass through the network, none stay in it."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in self.parameters:
                parameter.requires_grad_(True)


class Adversary:
    """A discriminator that learns, the GAN loss that both sides play, and its weight in both of their sums."""

    def __init__(
        self,
        learner: Learner,
        predict: Callable[[Tensor], Tensor],
        mode: str,
        weight: float = 1.0,
        pool: HistoryPool | None = None,
    ) -> None:
        """`predict` runs the learner's network; `mode` is a GAN loss of `losses.gan_loss`."""
        self.learner = learner
        self.predict = predict
        self.mode = mode
        self.weight = weight
        self.pool = pool

    def learn(self, real: Tensor, fake: Tensor, step: int = 0) -> dict[str, Tensor]:
        """One update: half the loss on `real` plus half that on `fake` (detached, through the history pool)."""
        fake = fake.detach() if self.pool is None else self.pool.query(fake.detach(), step)
        loss = 0.5 * (self._loss(real, real=True, learning=True) + self._loss(fake, real=False, learning=True))
        return self.learner.update({self.learner.name: self.weight * loss})

    def judge(self, fake: Tensor) -> Tensor:
        """The opponent's weighted loss: how far `fake` is from passing as real."""
        with self.learner.read_only():
            return self.weight * self._loss(fake, real=True, learning=False)

    def _loss(self, inputs: Tensor, *, real: bool, learning: bool) -> Tensor:
        return gan_loss(self.predict(inputs), real=real, mode=self.mode, for_discriminator=learning)
