"""Which metrics tell a generator from a trick: all of them beside two trivial ones, in one table.

Question: `copy` returns the source and ignores the pose; `mean` returns the mean of the training images and ignores
everything. Both must lose where a metric is to be trusted. Pairs are random ones of held-out identities within a
camera. Metrics whose weights are not found are left out.

    OMP_NUM_THREADS=1 python -m experiments.trivial_generators DATA [GENERATOR ...] [--pairs N] [--out DIR]

GENERATOR: run folders, files of weights, copy, warp. Those of experiments.four_generators go with its data, WORK/data.
Expected cost: a minute for each generator and 200 pairs of 128x64 on one core, without Inception and pose estimator.

What was found, 200 pairs of held-out procedural people, beside warp and the systems of experiments.four_generators:
- ssim (`patn`) and ssim_in_mask put both trivial ones behind every trained generator, within a camera and across
  cameras; ssim owes that to its data range, the generated image's, which punishes the flat mean.
- Across cameras, where no method knows the background, psnr and l1 put the mean image, a grey blur, first of all;
  ssim_standard and ssim_pg2 put it before warp, dptn and dptn-ta, and mask_ssim hardly tells it from them.
- identity_similarity puts the copy before every trained generator: it is a real image of the right person. By
  definition that holds of inception_score, detection_score, fid and kid as well.
Beside ssim_in_mask, pckh and lpips look at the pose; their weights were not at hand here.
Result: docs/metrics.md.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment import files, metric_tables
from augment.data import keypoints
from augment.data.images import read_images
from augment.data.read import read_data
from augment.data.records import DataSet
from augment.devices import pick_device
from augment.evaluate_generator import measure
from augment.image_networks import Asked
from augment.image_pairs import Points, choose_pairs, of_generator
from augment.image_sheet import write_sheet
from augment.image_subjects import EvaluateGeneratorConfig, Subject, audited
from generators import checkpoint
from generators.generator import Generator
from generators.tensors import Images, PoseMaps, from_uint8

BLOCK = 256  # images


@dataclass(frozen=True)
class MeanConfig:
    """Nothing to choose."""


class MeanImage(Generator):
    """One image, whatever the source and the pose."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.config = MeanConfig()
        self.register_buffer("image", image)

    @property
    def stride(self) -> int:
        return 1

    def forward(self, source: Images, source_map: PoseMaps, target_map: PoseMaps) -> Images:
        return self.get_buffer("image").expand_as(source).clone()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("generators", nargs="*", type=Path, help="run folders, weights, copy, warp")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--any-camera", action="store_true", help="the background may change from source to target")
    parser.add_argument("--foreign-generator", action="store_true", help="they never saw these test identities")
    parser.add_argument("--reid", type=Path, help="a train-reid run, for identity_similarity")
    parser.add_argument("--out", type=Path, help="folder for the results (JSON) and sheets (PNG) of each")
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = EvaluateGeneratorConfig(
        count=args.pairs, same_camera=not args.any_camera, foreign_generator=args.foreign_generator
    )
    dataset = read_data(args.data)
    points = keypoints.dataset_points(dataset)
    generators: dict[str, Generator] = {"mean": mean_image(dataset)}
    for path in dict.fromkeys([Path("copy"), *args.generators]):
        audited(path, dataset, foreign=args.foreign_generator)
        generators[path.stem] = checkpoint.load_generator(path).for_inference()
    found = evaluate(config, generators, dataset, points, Asked(reid=args.reid), args.out)
    print(metric_tables.side_by_side(found, "markdown"))
    for name, why in found["mean"]["not_computed"].items():
        print(f"- `{name}`: not computed: {why}")


def evaluate(
    config: EvaluateGeneratorConfig,
    generators: Mapping[str, Generator],
    dataset: DataSet,
    points: Points,
    asked: Asked,
    out: Path | None = None,
) -> dict[str, dict[str, Any]]:
    """The results of each on the same pairs."""
    device = pick_device("auto")
    chosen = choose_pairs(dataset, points, None, config.count, same_camera=config.same_camera, seed=config.seed)
    found = {}
    for name, generator in generators.items():
        compared = of_generator(generator.to(device).eval(), chosen, dataset.train, device, config.save)
        measured, found[name] = measure(config, Subject(compared, dataset=dataset, points=points), asked)
        if out is not None:
            files.write_json(out / f"{name}.json", found[name])
            write_sheet(out / f"{name}.png", measured)
    return found


def mean_image(dataset: DataSet) -> MeanImage:
    """Of the training images."""
    total, size = torch.zeros(1), None
    for start in range(0, len(dataset.train), BLOCK):
        pixels = read_images(dataset.train[start : start + BLOCK], size)
        size = pixels.shape[1:3]
        total = total + from_uint8(torch.from_numpy(pixels)).double().sum(dim=0, keepdim=True)
    return MeanImage((total / len(dataset.train)).float())


if __name__ == "__main__":
    main()
