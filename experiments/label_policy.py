"""How should a synthetic image count: as a real one, softer, less, or in a batch of its own share?

    augment ablate label_policy --out DIR --jobs 2

Arms: same identity; label smoothing of 0.3 on synthetic images; LSRO's uniform labels (Zheng et al., ICCV 2017); loss
weight 0.5; a quarter of each batch; synthetic images first, and annealed to none. All with random erasing and one
synthetic image to a real one.

Expected cost: 40 trials; scale procedural about 35 minutes on two cores.
Result: not run yet.
"""

from augment.study import Arm, Contrast, Study
from experiments.scales import SCALES, Scale, synthetic

REAL, USUAL = "real", "same identity"
POLICIES = {
    "smoothed": "--labels smooth",
    "LSRO": "--labels lsro",
    "half weight": "--synthetic-weight 0.5",
    "a quarter of each batch": "--quota 0.25",
    "synthetic first": "--schedule first",
    "annealed": "--schedule annealed",
}


def study(scale: Scale) -> Study:
    """An arm for each policy, the usual one, and real images alone."""
    sets = (synthetic(scale, "--per-image 2"),)
    mixed = f"{scale.trained()} --ratio 1"
    arms = [Arm(REAL, scale.trained(2), (), "real images alone, as many updates"), Arm(USUAL, mixed, sets)]
    arms += [Arm(name, f"{mixed} {options}", sets) for name, options in POLICIES.items()]
    contrasts = [Contrast(name, USUAL, "against labels as those of real images") for name in POLICIES]
    contrasts += [Contrast(name, REAL, "against no synthetic images") for name in (USUAL, *POLICIES)]
    return scale.study(
        "How should synthetic images count?",
        "Which labels, weights and schedules of synthetic images are best?",
        arms,
        contrasts,
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
