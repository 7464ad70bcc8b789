"""How many synthetic images to a real one?

    augment ablate synthetic_ratio --out DIR --jobs 2

Arms: 0.5, 1, 2 and 4 synthetic images to a real one with random erasing, once at the updates of the real images alone
(equal compute) and once at E epochs of the mixed list (as published), each beside real images alone at equal updates.

Expected cost: 65 trials; scale procedural about an hour on two cores.
Result: longer training is all that a ratio gains; see experiments/README.md.
"""

from augment.study import Arm, Contrast, Study
from experiments.scales import SCALES, Scale, synthetic

RATIOS = (0.5, 1, 2, 4)
USUAL = 1
EQUAL, PUBLISHED, REAL = "equal updates", "E epochs", "real only, as many updates"


def study(scale: Scale) -> Study:
    """A pair of arms for each ratio, and their baselines."""
    generated = synthetic(scale, "--per-image 6")
    arms = [Arm("real", scale.trained(), (), "the baseline", curve=(REAL, 0))]
    contrasts = []
    for ratio in RATIOS:
        mixed = f"{scale.trained()} --ratio {ratio:g}"
        longer, equal, published = f"real, {1 + ratio:g} E", f"ratio {ratio:g}, equal updates", f"ratio {ratio:g}"
        arms += [
            Arm(longer, scale.trained(1 + ratio), (), "longer training alone", curve=(REAL, ratio)),
            Arm(equal, f"{mixed} --match iterations", (generated,), "equal compute", curve=(EQUAL, ratio)),
            Arm(published, mixed, (generated,), "as published", curve=(PUBLISHED, ratio)),
        ]
        contrasts += [
            Contrast(published, longer, f"{ratio:g} synthetic images to a real one, equal updates of {1 + ratio:g} E"),
            Contrast(equal, "real", f"{ratio:g} synthetic images to a real one, equal updates of E"),
        ]
    usual = f"ratio {USUAL:g}, equal updates"
    contrasts += [
        Contrast(f"ratio {ratio:g}, equal updates", usual, f"against {USUAL} synthetic image to a real one")
        for ratio in RATIOS
        if ratio != USUAL
    ]
    return scale.study(
        "How many synthetic images?",
        "Which ratio of synthetic to real images is best, at equal and at growing numbers of updates?",
        arms,
        contrasts,
        axis="synthetic images per real image",
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
