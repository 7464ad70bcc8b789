"""Images to annotate, and the annotation that they should get."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from augment.data import keypoints
from augment.data.images import read_image
from augment.data.keypoints import annotation_line
from augment.data.read import read_data
from augment.rtmpose import RTMPose


def write_folder(root: Path, folder: Path) -> Path:
    """A plain folder of 11 images of two sizes."""
    folder.mkdir()
    for place, record in enumerate(read_data(root).train[:11]):
        if place % 3:
            shutil.copy(record.path, folder)
        else:
            Image.open(record.path).resize((40, 90)).save(folder / record.name)
    return folder


def alone(images: Sequence[Path], weights: Path) -> str:
    """The file that one call of the estimator an image gives."""
    estimator = RTMPose(weights)
    lines = [annotation_line(image.name, estimator(read_image(image)[None])[0]) for image in images]
    return "\n".join([keypoints.HEADER, *lines]) + "\n"
