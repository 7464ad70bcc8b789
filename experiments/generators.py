"""Which generator helps most, and does any help more than a copy of the source?

    augment ablate generators --out DIR --jobs 2

Arms: no synthetic images at as many updates; `copy` (the source itself, whatever the pose), `warp` (no training); PG2,
PATN, DPTN and DPTN-TA, each trained from noise on the training identities for as many images. All with random erasing.
Each generator is trained once, so no interval holds the randomness of its training.

Expected cost: 35 trials and four generators; scale procedural about an hour on two cores.
Result: not run yet.
"""

from augment.study import DATA, Arm, Contrast, Step, Study
from experiments.scales import FROM_NOISE, SCALES, Scale, from_noise

TRAINED = ("pg2", "patn", "dptn", "dptn-ta")
UNTRAINED = ("copy", "warp")
NONE = "none"
USUAL = "dptn"


def study(scale: Scale) -> Study:
    """An arm for each generator."""
    sets = {name: Step("synthesize", f"--generator {name} --per-image 2", (DATA,)) for name in UNTRAINED}
    sets |= {name: from_noise(scale, name) for name in TRAINED}
    mixed = f"{scale.trained()} --ratio 1"
    arms = [Arm(NONE, scale.trained(2), (), "real images alone, as many updates")]
    arms += [Arm(name, mixed, (made,), f"images of {name}") for name, made in sets.items()]
    contrasts = [Contrast(name, base, "") for base in (NONE, "copy") for name in (*TRAINED, *UNTRAINED) if name != base]
    contrasts += [Contrast(name, USUAL) for name in (*TRAINED, "warp") if name != USUAL]
    contrasts.sort(key=lambda each: each.arm != USUAL)  # the headline: the generator that the other studies use
    return scale.study(
        "Which generator?",
        "Which generator's images help most, and more than copies of their sources?",
        arms,
        contrasts,
        note=FROM_NOISE,
        seconds={"train-generator": scale.scratch_seconds},
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
