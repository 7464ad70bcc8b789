"""When real images are scarce: can synthetic ones stand for those that are missing? (PATN, section 4.5 and its table.)

    augment ablate real_portion --out DIR --jobs 2

A portion p of each identity's real images is kept, the same for all seeds, and each withheld image is replaced by a
synthetic one of the same identity. Two regimes, never to be mixed: `G-full`, as published, whose generator was trained
on all images and hands the withheld ones back; `G-subset`, whose generator, sources and target poses are those of the
portion. For real images alone, copies of them take the places of the withheld ones, so all arms have equal updates.

Expected cost: 65 trials and five generators; scale procedural about an hour on two cores.
Result: not run yet.
"""

from augment.study import DATA, Arm, Contrast, Step, Study
from experiments.scales import SCALES, Scale, synthetic

PORTIONS = (0.2, 0.4, 0.6, 0.8)
REAL, SUBSET, FULL = "real only", "G-subset", "G-full"
EVERYTHING = "real, all"


def study(scale: Scale) -> Study:
    """Three arms for each portion, and all real images."""
    everything = synthetic(scale, "--per-image 3")
    arms = [Arm(EVERYTHING, scale.trained(), (), "the upper bound", curve=(REAL, 1.0))]
    contrasts = []
    for portion in PORTIONS:
        kept = f"--portion {portion:g} --portion-seed 0"
        scarce = Step("subset", f"--portion {portion:g} --seed 0", (DATA,))
        missing = 1 / portion - 1
        own = synthetic(scale, f"--ratio {2 * missing:g}", scarce)
        real, subset, full = (f"{regime}, {portion:.0%}" for regime in ("real", SUBSET, FULL))
        arms += [
            Arm(real, f"{scale.trained()} {kept} --replace --control real-duplicated", (everything,),
                "the portion alone, copied into the gaps", curve=(REAL, portion)),
            Arm(subset, f"{scale.trained()} --ratio {missing:g}", (own,), "nobody saw the withheld images", scarce,
                (SUBSET, portion)),
            Arm(full, f"{scale.trained()} {kept} --replace", (everything,), "the generator saw all images",
                curve=(FULL, portion)),
        ]  # fmt: skip
        contrasts += [
            Contrast(subset, real, f"synthetic images of a generator that knows {portion:.0%} of the real ones"),
            Contrast(full, real, "of one that knows all of them: no gain in scarcity"),
            Contrast(full, subset, "what the generator's knowledge of the withheld images is worth"),
            Contrast(subset, EVERYTHING, "what is still lost"),
        ]
    return scale.study(
        "Synthetic images where real ones are scarce",
        "With a portion of the real images, how much of the loss do synthetic ones make good?",
        arms,
        contrasts,
        axis="portion of the real images",
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
