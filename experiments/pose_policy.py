"""Whose poses should the synthetic images have?

    augment ablate pose_policy --out DIR --jobs 2

Arms: every policy of `augment synthesize --poses`, one synthetic image to a real one, with random erasing; `self` is
the control (no new pose), `diverse` prefers poses that the identity lacks, `canonical` the centres of pose clusters.

Expected cost: 40 trials; scale procedural about 35 minutes on two cores.
Result: not run yet.
"""

from augment.policies import POLICIES
from augment.study import Arm, Contrast, Study
from experiments.scales import SCALES, Scale, synthetic

REAL, CONTROL, USUAL = "real", "self", "random"


def study(scale: Scale) -> Study:
    """An arm for each policy, and real images alone."""
    mixed = f"{scale.trained()} --ratio 1"
    arms = [Arm(REAL, scale.trained(2), (), "real images alone, as many updates")]
    arms += [Arm(name, mixed, (synthetic(scale, f"--per-image 2 --poses {name}"),)) for name in POLICIES]
    others = [name for name in POLICIES if name not in (USUAL, CONTROL)]
    contrasts = [Contrast("diverse", USUAL, "poses that the identity lacks, against any training image's")]
    contrasts += [Contrast(name, USUAL) for name in others if name != "diverse"]
    contrasts += [Contrast(USUAL, CONTROL, "new poses, the texture being the same")]
    contrasts += [Contrast(name, REAL) for name in POLICIES]
    return scale.study(
        "Which poses?",
        "Does it matter in whose poses people are shown?",
        arms,
        contrasts,
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
