"""Training torchreid's models on real and synthetic images: one loop, exactly resumable.

torchreid's own engine cannot resume, crashes without a scheduler and knows no synthetic flag; its models and optimisers
are used here, its loop is not. Data order, augmentation and dropout are functions of (seed, epoch, position), so the
weights and the optimiser's moments are all the state there is. Several processes may share every batch: see
`reid.distributed`.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.data import DataLoader

from reid import checkpoint, configuration, distributed, torchreid_api
from reid.configuration import FREE_OPTIONS, ReidConfig, determining_options
from reid.dataset import MixedDataset
from reid.devices import UNRECORDED, described
from reid.losses import Seen, seen, training_loss
from reid.networks import build_network, initial_weights
from reid.rates import learning_rate
from reid.sampling import EpochBatches, IdentityBatches

# How often the losses are fetched from the device, to see whether they are finite and to show them.
CHECK_STEPS = 50

# What a checkpoint's header counts: epochs done, images drawn, updates, seconds spent over all interruptions.
COUNTERS = ("epoch", "images_seen", "iterations", "seconds")


@final
class TrainingState:
    """Model, optimiser and how far it is: all that a resumed training needs."""

    def __init__(self, config: ReidConfig, num_classes: int, device: torch.device) -> None:
        self.config = config
        with seeded(device, config.seed):
            model = build_network(config, num_classes, initial_weights(config))
        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        model = model.to(device).to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        self.model = synchronised(model, device) if distributed.world() > 1 else model
        self.optimiser = torchreid_api.build_optimiser(
            self.model, config.optimiser, config.learning_rate, config.weight_decay,
            base_rate=config.base_rate, new_layers=config.new_layers,
            fused=config.channels_last and device.type == "cpu",  # NCHW keeps torchreid's arithmetic
        )  # fmt: skip
        self.epoch = 0
        self.images_seen = 0
        self.iterations = 0
        self.seconds = 0.0
        self.processes = {distributed.world()}  # all numbers of processes that have trained this model together
        self.devices = {described(device)}  # all that it was trained on; of several processes, the first one's

    def require_finite(self) -> None:
        """Refuse a state that is not worth saving.

        Raises:
            ValueError: a weight is not finite.
        """
        for name, value in self.model.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise distributed.failure(
                    f"{name} is not finite after epoch {self.epoch}: lower the learning rate{_kept(self.epoch - 1)}"
                )

    def digest(self) -> str:
        """SHA-256 of the weights and of the optimiser's moments."""
        return checkpoint.digest(self.model, self.optimiser)

    def save(self, data_digest: str, num_classes: int) -> bytes:
        """The state as a checkpoint, which any number of processes may continue."""
        header = {
            "config": asdict(self.config),
            "num_classes": num_classes,
            "data_digest": data_digest,
            "processes": sorted(self.processes),
            "devices": sorted(self.devices),
            **{name: getattr(self, name) for name in COUNTERS},
        }
        return checkpoint.to_bytes(self.model, self.optimiser, header)

    def load(self, data: bytes, data_digest: str) -> None:
        """Continue from a checkpoint.

        Raises:
            ValueError: made with other options or on other images; the message names what differs.
        """
        saved = checkpoint.from_bytes(data)
        mine = asdict(self.config) | {"data_digest": data_digest}
        theirs = asdict(configuration.from_saved(saved.header["config"])) | {"data_digest": saved.header["data_digest"]}
        differing = [key for key in mine if key not in FREE_OPTIONS and mine[key] != theirs[key]]
        if differing:
            changes = ", ".join(f"{key} ({theirs[key]!r} there, {mine[key]!r} asked)" for key in differing)
            raise ValueError(f"the checkpoint was made otherwise: {changes}; use its options, or train from the start")
        checkpoint.restore_model(saved, self.model)
        checkpoint.restore_optimiser(saved, self.model, self.optimiser)
        for name in COUNTERS:
            setattr(self, name, saved.header[name])
        self.processes |= set(saved.header.get("processes", [1]))
        self.devices |= set(saved.header.get("devices", [UNRECORDED]))


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch statistics over all processes on CUDA; elsewhere torch has none, and each has its own."""
    return nn.SyncBatchNorm.convert_sync_batchnorm(model) if device.type == "cuda" else model


def load_model(data: bytes, device: torch.device | str = "cpu") -> tuple[nn.Module, ReidConfig]:
    """The model in a checkpoint, ready to extract features, and the configuration that it was trained with."""
    saved = checkpoint.from_bytes(data)
    config = configuration.from_saved(saved.header["config"])
    device = torch.device(device)
    with seeded(device, 0):  # its weights are replaced; only the caller's random numbers matter
        model = build_network(config, saved.header["num_classes"])
    checkpoint.restore_model(saved, model)
    return model.to(device).eval(), config


def require_trainable(config: ReidConfig, dataset: MixedDataset, processes: int = 1) -> None:
    """Refuse a training list that these options cannot train on, before hours of other work.

    Raises:
        ValueError: too few images or identities, a quota of images that are not there, or a batch that this number of
            processes cannot share.
    """
    if dataset.num_classes < 2 or len(dataset) < 2:
        raise ValueError(
            f"{len(dataset)} images of {dataset.num_classes} identities: training needs at least 2 of both"
        )
    batch = _sampler(config, dataset, 0).batch
    reason = ""
    if batch < config.batch:
        unit = f"{dataset.num_classes} identities x {config.instances} images" if config.instances else "a whole epoch"
        reason = f" ({unit}, which batch {config.batch} exceeds)"
    distributed.part_size(batch, processes, reason)


def train(
    config: ReidConfig,
    dataset: MixedDataset,
    *,
    num_classes: int,
    device: torch.device | str = "cpu",
    resume: bytes | None = None,
    on_checkpoint: Callable[[bytes], None] = lambda data: None,
    on_epoch: Callable[[dict[str, Any]], None] = lambda row: None,
    on_loss: Callable[[int, float], None] = lambda images_seen, loss: None,
    progress: Callable[[int, int], None] | None = None,
) -> nn.Module:
    """Train to the end of the last epoch; after each `on_epoch` gets a row of figures, then `on_checkpoint` the state.

    Continued from any of those states (`resume`), the result is the one of an uninterrupted training, bit for bit, on a
    CPU. `progress` gets the images seen and those of the whole training, `on_loss` those seen and the mean loss of the
    steps since its last call, every `CHECK_STEPS` and at the end of an epoch.

    Processes that form a group share every batch, end with the same weights, and call `progress` alike, where they may
    stop together; the others go to the first one alone. Their number, which may change between two checkpoints, changes
    the result by rounding and dropout only; but without CUDA also by batch normalisation, since each process then
    normalises its part by itself. The running statistics are averaged after each epoch.

    Raises:
        ValueError: unfit options or data, or a loss that is not finite; what `on_checkpoint` had got last stays good.
    """
    # Check
    require_trainable(config, dataset, distributed.world())
    assert num_classes >= dataset.num_classes, "a label would be out of range"
    assert dataset.view == config.view, "the data set shows images in another way than the configuration says"
    device, data_digest = torch.device(device), dataset.digest

    # State
    state = TrainingState(config, num_classes, device)
    if resume is not None:
        state.load(resume, data_digest)
    if distributed.world() > 1:
        distributed.require_same(
            {
                "options": str(determining_options(config)),
                "images": data_digest,
                "epochs done": str(state.epoch),
                "weights to start from": state.digest(),
            }
        )

    # Data
    sampler = _sampler(config, dataset, state.epoch)
    part = distributed.part(sampler.batch)
    loader = DataLoader(
        dataset,
        batch_sampler=(draws[part] for draws in sampler),  # pyright: ignore[reportArgumentType]  (not numbers)
        num_workers=config.workers,
        pin_memory=device.type == "cuda",
        generator=torch.Generator(),  # only so that it leaves the global one alone
    )
    batches = iter(loader)
    epoch_images = sampler.steps * sampler.batch

    # Loop
    rate = math.nan
    while state.epoch < config.epochs:
        started = time.monotonic()
        _begin_epoch(state)
        losses = torch.full((sampler.steps,), torch.nan, device=device)
        hits = torch.zeros((), device=device)
        with seeded(device, _noise_seed(config.seed, state.epoch, distributed.rank())):
            for step in range(sampler.steps):
                images, labels, _, synthetic = (tensor.to(device, non_blocking=True) for tensor in next(batches))
                rate = learning_rate(config, state.epoch, step / sampler.steps)
                _set_rate(state, rate)
                losses[step], correct = _step(state, images, labels, synthetic)
                hits += correct
                state.images_seen += sampler.batch
                state.iterations += 1
                if (step + 1) % CHECK_STEPS == 0 or step + 1 == sampler.steps:
                    mean = _finite_mean(losses, step - step % CHECK_STEPS, step + 1, state.epoch)
                    if distributed.rank() == 0:
                        on_loss(state.images_seen, mean)
                if progress is not None:
                    progress(state.images_seen, config.epochs * epoch_images)

        # Report and save
        state.epoch += 1
        state.seconds += time.monotonic() - started
        distributed.average([value for value in state.model.buffers() if value.is_floating_point()])
        state.require_finite()
        row = {name: getattr(state, name) for name in COUNTERS} | {
            "loss": float(losses.cpu().double().mean()),
            "accuracy": float(hits) / epoch_images,
            "learning_rate": rate,
        }
        distributed.in_first(functools.partial(on_epoch, row))
        distributed.in_first(lambda: on_checkpoint(state.save(data_digest, num_classes)))
    return state.model.eval()


def _sampler(config: ReidConfig, dataset: MixedDataset, first_epoch: int) -> EpochBatches | IdentityBatches:
    if config.instances:
        return IdentityBatches(
            dataset.item_pids, dataset.synthetic, batch=config.batch, instances=config.instances, seed=config.seed,
            epochs=config.epochs, first_epoch=first_epoch, epoch_images=config.epoch_images, quota=config.quota,
            plan=config.quota_plan,
        )  # fmt: skip
    return EpochBatches(
        dataset.synthetic, batch=config.batch, seed=config.seed, epochs=config.epochs, first_epoch=first_epoch,
        epoch_images=config.epoch_images, quota=config.quota, plan=config.quota_plan,
    )  # fmt: skip


def _begin_epoch(state: TrainingState) -> None:
    """Set which layers learn: torchreid's two-stepped transfer learning (Geng et al. 2016)."""
    config = state.config
    all_learn = state.epoch >= config.classifier_epochs
    state.model.train()
    if not all_learn:
        torchreid_api.require_layers(state.model, config.new_layers, "classifier_epochs")
    for name, layer in state.model.named_children():
        learns = all_learn or name in config.new_layers
        layer.train(learns).requires_grad_(learns)


def _set_rate(state: TrainingState, rate: float) -> None:
    for group in state.optimiser.param_groups:
        group["lr"] = rate * group["scale"]


def _step(
    state: TrainingState, images: Float[Tensor, "b 3 h w"], labels: Int[Tensor, " b"], synthetic: Bool[Tensor, " b"]
) -> tuple[Float[Tensor, ""], Int[Tensor, ""]]:
    """One update by the images of all processes, of which these are a part: loss, how many were classified right."""
    config = state.config
    if config.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
        output = state.model(images)
    found = seen(*output) if config.loss == "triplet" else seen(output)
    found = Seen(*(tuple(distributed.gather(head) for head in heads) for heads in found))
    labels, synthetic = distributed.gather(labels), distributed.gather(synthetic)
    loss = training_loss(config, found, labels, synthetic)
    state.optimiser.zero_grad()
    loss.backward()
    distributed.add_up([value.grad for value in state.model.parameters() if value.grad is not None])
    if config.clip:
        nn.utils.clip_grad_norm_(state.model.parameters(), config.clip)
    state.optimiser.step()
    return loss.detach(), (found.logits[0].argmax(1) == labels).sum()


def _finite_mean(losses: Float[Tensor, " steps"], start: int, stop: int, epoch: int) -> float:
    """The mean loss of the steps from `start` to `stop`, each of which must be finite."""
    found = losses[start:stop].cpu().double()
    broken = torch.nonzero(~torch.isfinite(found))
    if len(broken):
        step = start + int(broken[0]) + 1
        raise distributed.failure(
            f"the loss is not finite at epoch {epoch + 1}, step {step}: lower the learning rate or use "
            f"precision fp32, and train from the start{_kept(epoch)}"
        )
    return float(found.mean())


def _kept(epoch: int) -> str:
    """What a failure after so many whole epochs leaves behind."""
    return f" (the checkpoint of epoch {epoch} is good)" if epoch else ""


@contextlib.contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Within it torch's global generators start from `seed`; afterwards they are as they were."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _noise_seed(*numbers: int) -> int:
    """Zeros at the end change nothing, so that the first of several processes has the noise of one alone."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
