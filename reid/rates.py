"""The learning rate, as a pure function of how far the training is."""

import math

from reid.configuration import ReidConfig

# Where the warm-up of the strong baseline starts (fast-reid's recipe): this share of the rate.
WARMUP_START = 0.1


def learning_rate(config: ReidConfig, epoch: int, done: float = 0.0) -> float:
    """The rate of torchreid's multi_step or cosine scheduler throughout an epoch, without its state.

    In the warm-up it rises linearly with each update; `done` is the share of the epoch's updates before this one.
    """
    return _scheduled(config, epoch) * _warmup(config, epoch + done)


def _scheduled(config: ReidConfig, epoch: int) -> float:
    if config.schedule == "cosine":
        return config.learning_rate * (1 + math.cos(math.pi * epoch / config.epochs)) / 2
    return config.learning_rate * config.gamma ** sum(step <= epoch for step in config.steps)


def _warmup(config: ReidConfig, epochs_done: float) -> float:
    if epochs_done >= config.warmup_epochs:
        return 1.0
    return WARMUP_START + (1 - WARMUP_START) * epochs_done / config.warmup_epochs
