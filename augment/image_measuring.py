"""Which metrics can be computed of what is compared, the passes over its images, what must be said of the values."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from augment.backbones import stranger
from augment.cross_fitting import Bar
from augment.data.images import require_readable
from augment.devices import pick_device
from augment.image_entries import SMALL, Measured, unequal_floors
from augment.image_metrics import METRICS, POSE, POSES, SET, SOURCE, TRUE
from augment.image_networks import Networks
from augment.image_pairs import Compared, Points
from augment.image_passes import DISTRIBUTION, Columns, Passes
from augment.pose_estimation import annotated_by

OF_REAL = {"inception_score", "mask_is", "pckh", "detection_score"}  # whose floor is the same of real images


def lacks(name: str, compared: Compared, points: Points | None) -> str | None:
    """What a metric lacks beside networks, if anything."""
    for need in METRICS[name].needs:
        if need == TRUE and not compared.paired.any():
            how = (
                "folders are paired by file name"
                if compared.reader is None
                else "no pose is of another image of the person"
            )
            return f"needs true images: no generated image has one ({how})"
        if need == POSE and compared.poses is None:
            return "needs the target poses of all images, which are not known here"
        if need == SOURCE and compared.source is None and not compared.paired.all():
            return "needs the source or the true image of every generated one"
        if need == SET and compared.reader is None:
            return "describes a synthetic set: give one as --images X.h5"
        if need == SET and (points is None or compared.poses is None):
            return "needs the key points of the real images and of the set; give --poses FILE"
    return None


def real_images(names: Collection[str], compared: Compared) -> tuple[set[str], set[str]]:
    """Which metrics need the real images that are compared with, and which need further ones."""
    of_real, of_other = set(names) & DISTRIBUTION, set(names) & (DISTRIBUTION | OF_REAL)
    return (of_real, of_other) if compared.other else (of_other, set())


def require_real_images(names: Collection[str], compared: Compared) -> None:
    """
    Raises:
        ValueError: one that is needed cannot be read.
    """
    of_real, of_other = real_images(names, compared)
    require_readable([*(compared.real if of_real else ()), *(compared.other if of_other else ())])


def pass_over(
    compared: Compared,
    points: Points | None,
    names: frozenset[str],
    networks: Networks,
    *,
    batch: int,
    seed: int,
    device: str,
    bar: Bar,
) -> Measured:
    """Generated images, then what real ones are needed for."""
    passes = Passes(names, networks, pick_device(device), batch)
    of_real, of_other = real_images(names, compared)
    generated: Columns = {}
    if names - set(POSES):
        with bar("generated images", "img") as progress:
            generated = passes.generated(compared, progress)
    real: Columns = {}
    if of_real:
        with bar("real images", "img") as progress:
            real = passes.real(compared, compared.real, None, of_real, progress)
    other: Columns = {}
    if of_other:
        with bar("real images for floors", "img") as progress:
            other = passes.real(compared, compared.other, compared.other_poses, of_other, progress)
    return Measured(compared, generated, real, other, points, seed)


def notes(metrics: Mapping[str, Any], compared: Compared, networks: Networks, annotations: Sequence[Path]) -> list[str]:
    """What must be known of the values; `annotations` are the files that the key points come from."""
    found = [*compared.notes]
    for name in ("fid", "fid_gfla"):
        if name in metrics and metrics[name]["n"] < SMALL:
            found.append(
                f"{name}: of {metrics[name]['n']:,} images; such distances fall with more of them, so compare at equal "
                "numbers only"
            )
    if "identity_similarity" in metrics and networks.reid is not None:
        on_this = networks.reid.provenance.get("trained_on_this_data")
        if on_this and compared.reader is not None:
            found.append("identity_similarity: by a network that was trained on these identities, so too favourable")
        elif on_this is None:
            found.append("identity_similarity: by a network of which it is unknown what it was trained on")
    found += unequal_floors(metrics)
    for network in (networks.lpips, networks.inception, networks.torchvision):
        if network is not None and (told := stranger(network.NAME, network.provenance["weights_sha256"])):
            found.append(told)
    if "pckh" in metrics and networks.estimator is not None:
        found += _foreign_annotations(annotations, networks.estimator.provenance)
    return found


def _foreign_annotations(annotations: Sequence[Path], estimator: Mapping[str, Any]) -> list[str]:
    """What PCKh rests on where the joints it compares are not known to be of one estimator."""
    found = []
    for path in annotations:
        made_by = annotated_by(path)
        if made_by is None:
            found.append(f"pckh: which estimator made {path.name} is unknown; joints of one estimator compare fairly")
        elif made_by != estimator:
            found.append(
                f"pckh: {path.name} is {made_by['estimator']}'s, not of the network and settings used here; only the "
                "same one's joints compare fairly"
            )
    return found
