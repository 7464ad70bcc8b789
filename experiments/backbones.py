"""Does the gain hold for other networks, and does it shrink as they get better?

    augment ablate backbones --out DIR --jobs 2

Arms: real images alone at as many updates, and real and synthetic ones, for networks of growing size, with random
erasing. Published gains shrink as the baseline gets stronger (docs/experiments.md).

Expected cost: 50 trials; scale procedural about six hours on two cores, of which ResNet-50 takes four.
Result: not run yet.
"""

from augment.study import REID, Arm, Contrast, Study
from experiments.scales import SCALES, Scale, synthetic

NETWORKS = ("osnet_x0_25", "osnet_x0_5", "osnet_x1_0", "mobilenetv2_x1_0", "resnet50")


def study(scale: Scale) -> Study:
    """Two arms for each network."""
    generated = synthetic(scale, "--per-image 2")
    arms, contrasts = [], []
    for network in NETWORKS:
        real, mixed = f"{network}, real", f"{network}, mixed"
        arms += [
            Arm(real, f"{scale.trained(2)} --model {network}", (), "real images alone, as many updates"),
            Arm(mixed, f"{scale.trained()} --ratio 1 --model {network}", (generated,)),
        ]
        contrasts.append(Contrast(mixed, real, f"what synthetic images add to {network}"))
    return Study(
        title="Which networks gain?",
        question="Does the gain depend on the re-ID network?",
        arms=tuple(arms),
        contrasts=tuple(contrasts),
        reid="--erase 0.5",
        data=scale.data,
        seeds=scale.seeds,
        note=scale.note,
        seconds={**scale.seconds, REID: 4 * scale.seconds[REID]},  # on average over the networks
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
