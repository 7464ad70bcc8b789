"""Do synthetic images help other networks, too?

    augment ablate backbones --out DIR --jobs 2

Arms: real images alone at as many updates, and real and synthetic ones, for networks of growing size, with random
erasing. All are trained by one recipe, at scale procedural one that suits osnet_x0_25, so gains of different networks
must not be ranked: that they shrink as baselines get stronger (docs/experiments.md) is not what this tests.

Expected cost: 50 trials; scale procedural about two and a half hours on two cores.
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
    return scale.study(
        "Which networks gain?",
        "Do synthetic images help each of these re-ID networks?",
        arms,
        contrasts,
        note=f"{scale.note} All networks are trained by one recipe, so their gains must not be ranked.".strip(),
        seconds={REID: 4 * scale.seconds[REID]},  # on average over the networks
    )


STUDIES = {name: study(scale) for name, scale in SCALES.items()}
