"""Does pose-transfer augmentation help, beyond longer training, more draws, and random erasing?

    augment ablate augmentation_benefit --out DIR --jobs 2

Arms: all of the protocol (docs/experiments.md), each without and with random erasing. One synthetic image to a real
one. E epochs on the real images; arms with synthetic images have twice as many updates, and so have `real_matched` and
`real_duplicated`; `mixed_matched` has as many as `real`. The filter keeps 70 % of two synthetic images to a real one.

Headline: with erasing and equal updates, what do synthetic images add?
Expected cost: 80 trials; scale procedural about an hour on two cores, quick about ten.
Result: no evidence of an effect, +1.4 mAP (-0.6 to +3.4) with erasing at equal updates; what is gained over `real` is
longer training. experiments/README.md has the rest.
"""

from augment.study import Arm, Contrast, Control, Step, Study
from experiments.scales import ERASING, SCALES, Scale, synthetic


def study(scale: Scale) -> Study:
    """All arms, without and with erasing."""
    generated = synthetic(scale, "--per-image 2")
    own_pose = synthetic(scale, "--per-image 2 --poses self")
    scored = Step("score", f"--scores identity_margin {scale.judges}", (generated, generated.inputs[0]))
    kept = Step("filter", "--top 0.7 --by identity_margin", (generated, scored))
    once, twice = scale.trained(), scale.trained(2)
    mixed = f"{once} --ratio 1"
    plain = (
        Arm("real", once, (), "the baseline"),
        Arm("real_matched", twice, (), "is it just longer training?"),
        Arm("real_duplicated", f"{mixed} --control real-duplicated", (generated,), "is it just more draws?"),
        Arm("mixed", mixed, (generated,), "as published: E epochs of real and synthetic images"),
        Arm("mixed_matched", f"{mixed} --match iterations", (generated,), "equal compute"),
        Arm("self_pose", mixed, (own_pose,), "generator texture, or pose diversity?"),
        Arm("mixed_filtered", mixed, (kept,), "does the filter help ..."),
        Arm("mixed_random_subset", mixed, (Control(kept),), "... or the count?"),
    )
    erased = tuple(Arm(f"{a.name}, erasing", f"{a.options} {ERASING}", a.sets, a.about) for a in plain)
    contrasts = [
        Contrast(f"{name}{way}", f"{base}{way}", asks) for way in (", erasing", "") for name, base, asks in COMPARED
    ]
    return scale.study(
        "Does pose-transfer augmentation help?",
        "What do synthetic images add to real ones, beyond longer training, more draws and random erasing?",
        (*plain, *erased),
        contrasts,
        reid="",  # erasing is what arms differ in
        erasing=Contrast("real_matched, erasing", "real_matched", "random erasing alone, as many updates"),
    )


COMPARED = (
    ("mixed", "real_matched", "what synthetic images add at equal updates"),
    ("mixed", "real", "as published: more updates as well"),
    ("mixed_matched", "real", "what they add at the updates of the baseline"),
    ("mixed", "real_duplicated", "against copies of real images in their place"),
    ("mixed", "self_pose", "new poses, the texture being the same"),
    ("self_pose", "real_duplicated", "the generator's texture without new poses"),
    ("mixed_filtered", "mixed_random_subset", "what the filter adds at the same count"),
    ("real_matched", "real", "longer training alone"),
)

STUDIES = {name: study(scale) for name, scale in SCALES.items()}
