"""Does it pay to throw the worse synthetic images away, or is it only their number?

    augment ablate filter --out DIR --jobs 2

Arms: of three synthetic images to a real one the best 70, 50 and 30 % by identity margin, the best half of each
identity, and the sharpest half, each beside a random subset of equal size. One synthetic image to two real ones is
drawn from what is kept; all arms have random erasing and equal updates.

Expected cost: 60 trials; scale procedural about 50 minutes on two cores.
Result: not run yet.
"""

from augment.study import DATA, Arm, Contrast, Control, Step, Study
from experiments.scales import SCALES, Scale, synthetic

FILTERS = {
    "best 70 %": "--top 0.7 --by identity_margin",
    "best 50 %": "--top 0.5 --by identity_margin",
    "best 30 %": "--top 0.3 --by identity_margin",
    "best 50 % of each identity": "--top 0.5 --by identity_margin --per identity",
    "sharpest 50 %": "--top 0.5 --by sharpness",
}
PER_IMAGE = 3
RATIO = 0.5  # what the smallest selection has enough images for


def study(scale: Scale) -> Study:
    """Two arms for each filter."""
    generated = synthetic(scale, f"--per-image {PER_IMAGE}")
    scored = Step("score", f"--scores identity_margin --scores sharpness {scale.judges}", (generated, DATA))
    mixed = f"{scale.trained()} --ratio {RATIO} --match iterations"
    arms = [
        Arm("real", scale.trained(), (), "real images alone, as many updates"),
        Arm("all", mixed, (generated,), "no filter"),
    ]
    contrasts = []
    for name, options in FILTERS.items():
        kept = Step("filter", options, (generated, scored))
        control = f"random for {name}"
        arms += [Arm(name, mixed, (kept,)), Arm(control, mixed, (Control(kept),), "the count, without the filter")]
        contrasts += [Contrast(name, control, "the filter, at the same count")]
    contrasts += [Contrast(name, "real", "against no synthetic images") for name in ("all", *FILTERS)]
    return scale.study(
        "Does a filter help?",
        "Do better synthetic images, as the judges see it, train better networks?",
        arms,
        contrasts,
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
