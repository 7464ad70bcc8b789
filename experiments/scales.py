"""How large a study is: data, generator and re-ID training that its arms share. `augment ablate STUDY --scale NAME`.

procedural   the built-in pedestrians, for two CPU cores and an hour or a few. What the repository's results come from.
quick        the same in minutes, to see that everything works. Its numbers mean nothing.
market       a Market-1501 root that the user gives (--data), at published sizes on GPUs. Needs ImageNet's weights of
             ResNet-50 and VGG19 (docs/weights.md). Its costs are guesses: it was never run here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from augment import weights
from augment.study import DATA, Arm, Contrast, Step, Study

ERASING = "--erase 0.5"  # random erasing, as train-reid takes it
FROM_NOISE = "Each generator was trained once, from noise, on the training identities only."  # for `note`


@dataclass(frozen=True)
class Scale:
    """The options that all studies of this size share."""

    data: str | None  # of make-data
    generator: str  # of train-generator, for the generator that every study but `generators` uses
    scratch: str  # of train-generator, for networks that are compared; --model is the arm's
    judges: str  # of score
    reid: str  # of train-reid, without --epochs
    epochs: int  # of train-reid, on the real images
    seeds: int
    seconds: Mapping[str, float]  # expected, of each command
    scratch_seconds: float  # of a training with the options `scratch`
    note: str

    def trained(self, times: float = 1) -> str:
        """Options of train-reid, for some multiple of the usual number of epochs."""
        return f"{self.reid} --epochs {round(times * self.epochs)}"

    def study(
        self, title: str, question: str, arms: Sequence[Arm], contrasts: Sequence[Contrast], *, reid: str = ERASING,
        note: str = "", axis: str = "", erasing: Contrast | None = None, seconds: Mapping[str, float] | None = None,
    ) -> Study:  # fmt: skip
        """A study of this size, with random erasing in all arms; `seconds` are costs other than the usual ones."""
        return Study(
            title=title,
            question=question,
            arms=tuple(arms),
            contrasts=tuple(contrasts),
            reid=reid,
            data=self.data,
            seeds=self.seeds,
            note=note or self.note,
            axis=axis,
            erasing=erasing,
            seconds={**self.seconds, **(seconds or {})},
        )


def generator(scale: Scale, data: Step = DATA, options: str = "") -> Step:
    """The study's generator, trained on the training identities of `data`."""
    return Step("train-generator", f"{scale.generator} {options}".strip(), (data,))


def synthetic(scale: Scale, options: str, data: Step = DATA) -> Step:
    """A synthetic set of that generator."""
    return Step("synthesize", options, (data, generator(scale, data)))


def from_noise(scale: Scale, model: str, options: str = "") -> Step:
    """A synthetic set of a network that is compared: two images to a real one, by a generator of the arm's own."""
    network = Step("train-generator", f"--model {model} {scale.scratch} {options}".strip(), (DATA,))
    return Step("synthesize", "--per-image 2", (DATA, network))


_WALKERS = (
    "The generator starts from shipped weights that have seen 500 other procedural identities, which the arms without "
    "synthetic images have not."
)
_TINY = "--preset tiny --flip --same-camera --validation 0 --no-tensorboard"
_FINE_TUNED = f"--model dptn {_TINY} --init {weights.TINY} --foreign-init --learning-rate 3e-4 --decay 1"
_SMALL = "--model osnet_x0_25 --size 128x64 --batch 16 --learning-rate 1.5e-3 --steps cosine"

PROCEDURAL = Scale(
    data="--identities 32 --test-identities 40 --per-camera 3",
    generator=f"{_FINE_TUNED} --images 1600",
    scratch=f"{_TINY} --images 16000 --precision bf16",
    judges="--epochs 60",
    reid=_SMALL,
    epochs=20,
    seeds=5,
    seconds={"make-data": 12, "subset": 10, "train-generator": 130, "synthesize": 30, "score": 150, "train-reid": 85},
    scratch_seconds=1_000,
    note=_WALKERS,
)
QUICK = Scale(
    data="--identities 12 --test-identities 8 --cameras 3 --per-camera 4 --size 64x32",
    generator=f"--model dptn {_TINY} --any-camera --images 32 --batch 8",
    scratch=f"{_TINY} --any-camera --images 32 --batch 8",
    judges="--epochs 1 --size 64x32",
    reid="--model osnet_x0_25 --size 64x32 --batch 8",
    epochs=1,
    seeds=2,
    seconds={"make-data": 3, "subset": 3, "train-generator": 15, "synthesize": 6, "score": 8, "train-reid": 7},
    scratch_seconds=15,
    note="Far too small to mean anything: it shows that the parts work together.",
)
MARKET = Scale(
    data=None,
    generator="--model dptn --preset market --precision bf16",
    scratch="--preset market --precision bf16",
    judges="--model osnet_x1_0 --init imagenet --size 256x128 --epochs 60",
    reid="--recipe bot --init imagenet --precision bf16 --workers 8",
    epochs=120,
    seeds=5,
    seconds={"subset": 30, "train-generator": 60_000, "synthesize": 300, "score": 1_800, "train-reid": 5_400},
    scratch_seconds=60_000,
    note="",
)
SCALES: Mapping[str, Scale] = {"procedural": PROCEDURAL, "quick": QUICK, "market": MARKET}
