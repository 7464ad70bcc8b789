"""The authors' own networks and training steps, from checkouts of their repositories, for timing beside ours.

DPTN: github.com/PangzeCheung/Dual-task-Pose-Transformer-Network (59bfdda). PATN: github.com/tengteng95/Pose-Transfer
(281ee2d). Nothing of them is part of this package; VGG19 has random weights in both.
"""

import contextlib
import functools
import importlib
import io
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

Step = Callable[[], object]


@contextmanager
def _package(folder: Path, *names: str) -> Iterator[dict[str, Any]]:
    """Modules of the authors' package `models`, without running its __init__, which wants more than networks do."""
    package = types.ModuleType("models")
    package.__path__ = [str(folder / "models")]
    sys.modules["models"] = package
    try:
        yield {name: importlib.import_module(f"models.{name}") for name in names}
    finally:
        for name in [name for name in sys.modules if name == "models" or name.startswith("models.")]:
            del sys.modules[name]


def dptn_generator(folder: Path) -> nn.Module:
    """The published Market-1501 generator; called with (image, pose, pose, is_train)."""
    with _package(folder, "networks") as modules, _silence():
        options = types.SimpleNamespace(model="DPTN", init_type="orthogonal", gpu_ids=[])
        return modules["networks"].define_G(
            options, 3, 18, 64, 512, 3, "instance", "LeakyReLU", False, False, 3, 3, True, 2, 2, 2
        )


def dptn_step(folder: Path, batch: tuple[Tensor, ...]) -> Step:
    """One step as in the authors' `optimize_parameters`, with the weights of their Market-1501 command line."""
    source, source_map, target, target_map = batch
    generator = dptn_generator(folder)
    with _package(folder, "networks", "external_function") as modules, _silence(), _untrained_vgg19():
        options = types.SimpleNamespace(init_type="orthogonal", gpu_ids=[])
        judge = modules["networks"].define_D(options, ndf=32, img_f=128, layers=3)
        perceptual = modules["external_function"].VGGLoss()
        gan = modules["external_function"].GANLoss("lsgan")
    l1 = nn.L1Loss()
    optimiser = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    judge_optimiser = torch.optim.Adam(judge.parameters(), 2e-5, (0.5, 0.999))

    def losses(fake: Tensor, real: Tensor) -> Tensor:
        content, style = perceptual(fake, real)
        return 2 * l1(fake, real) + 0.5 * content + 500 * style

    def step() -> None:
        fake_target, fake_source = generator(source, source_map, target_map)
        judge_optimiser.zero_grad()
        judge.requires_grad_(True)
        judged = gan(judge(target), True, True) + gan(judge(fake_target.detach()), False, True)
        (0.5 * judged).backward()
        judge_optimiser.step()
        optimiser.zero_grad()
        judge.requires_grad_(False)
        total = 0.8 * losses(fake_target, target) + 5 * gan(judge(fake_target), True, False)
        (total + 0.2 * losses(fake_source, source)).backward()
        optimiser.step()

    return step


def patn_generator(folder: Path) -> nn.Module:
    """The published Market-1501 generator; called with [image, both pose maps]."""
    with _package(folder, "model_variants") as modules:
        return modules["model_variants"].PATNetwork(
            [3, 36], 3, 64, functools.partial(nn.BatchNorm2d, affine=True), True, 9
        )


def patn_step(folder: Path, batch: tuple[Tensor, ...]) -> Step:
    """One step as in the authors' `optimize_parameters`, with the weights of their Market-1501 command line."""
    source, source_map, target, target_map = batch
    generator = patn_generator(folder)
    norm = functools.partial(nn.BatchNorm2d, affine=True)
    with _package(folder, "networks") as modules, _silence():
        build = modules["networks"].ResnetDiscriminator
        judges = [build(channels, 64, norm, True, 3, use_sigmoid=True) for channels in (21, 6)]
    features = nn.Sequential(*list(torchvision.models.vgg19().features.children())[:4]).requires_grad_(False)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    bce, l1 = nn.BCELoss(), nn.L1Loss()
    optimiser = torch.optim.Adam(generator.parameters(), 2e-4, (0.5, 0.999))
    judge_optimisers = [torch.optim.Adam(judge.parameters(), 2e-4, (0.5, 0.999)) for judge in judges]

    def seen(image: Tensor) -> Tensor:
        return features(((image + 1) / 2 - mean[:, None, None]) / deviation[:, None, None])

    def says(prediction: Tensor, value: float) -> Tensor:
        return bce(prediction, torch.full_like(prediction, value))

    def step() -> None:
        fake = generator([source, torch.cat([source_map, target_map], 1)])
        others = [target_map, source]
        optimiser.zero_grad()
        judged = [5 * says(judge(torch.cat([fake, o], 1)), 1) for judge, o in zip(judges, others, strict=True)]
        pair = sum(judged[1:], judged[0]) / 2
        (pair + 10 * l1(fake, target) + 10 * l1(seen(fake), seen(target).detach())).backward()
        optimiser.step()
        for judge, judge_optimiser, other in zip(judges, judge_optimisers, others, strict=True):
            judge_optimiser.zero_grad()
            real = says(judge(torch.cat([target, other], 1)), 1)
            false = says(judge(torch.cat([fake.detach(), other], 1)), 0)
            (0.5 * 5 * (real + false)).backward()
            judge_optimiser.step()

    return step


@contextmanager
def _untrained_vgg19() -> Iterator[None]:
    """torchvision's VGG19 without its download."""
    build = torchvision.models.vgg19
    torchvision.models.vgg19 = lambda pretrained=False: build()
    try:
        yield
    finally:
        torchvision.models.vgg19 = build


def _silence() -> contextlib.redirect_stdout[io.StringIO]:
    return contextlib.redirect_stdout(io.StringIO())
