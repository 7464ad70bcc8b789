"""Which terms of DPTN's training matter to re-ID, not to the eye?

    augment ablate generator_losses --out DIR --jobs 2

Arms: DPTN as published, without the adversarial loss, without VGG19's terms, without the source-to-source task, with
hinge loss, with DPTN-TA's texture affinity, and with its discriminator. Each is trained from noise for as many images.
All with random erasing and one synthetic image to a real one. Each generator is trained once, so no interval holds the
randomness of its training.

Expected cost: 40 trials and seven generators; scale procedural about an hour and a half on two cores. At that scale
VGG19's features are random, so its terms are not the paper's.
Result: not run yet.
"""

from augment.study import Arm, Contrast, Study
from experiments.scales import FROM_NOISE, SCALES, Scale, from_noise

REAL, PUBLISHED = "real", "as published"
CHANGES = {
    "no adversary": "--loss adversarial=0",
    "no VGG19 terms": "--no-perceptual",
    "target task only": "--loss target_share=1",
    "hinge": "--loss gan=hinge",
    "texture affinity": "--loss affinity=100",
    "DPTN-TA's discriminator": "--loss discriminator=residual",
}


def study(scale: Scale) -> Study:
    """An arm for each change, for the published losses, and for real images alone."""
    mixed = f"{scale.trained()} --ratio 1"
    arms = [Arm(REAL, scale.trained(2), (), "real images alone, as many updates")]
    arms += [Arm(name, mixed, (from_noise(scale, "dptn", how),)) for name, how in ({PUBLISHED: ""} | CHANGES).items()]
    contrasts = [Contrast(name, PUBLISHED, "the change alone") for name in CHANGES]
    contrasts += [Contrast(name, REAL, "against no synthetic images") for name in (PUBLISHED, *CHANGES)]
    return scale.study(
        "Which losses of the generator matter?",
        "Which terms of DPTN's training do re-ID networks gain from?",
        arms,
        contrasts,
        note=FROM_NOISE,
        seconds={"train-generator": scale.scratch_seconds},
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
