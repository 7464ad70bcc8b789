"""How sharp an image is."""

import cv2
import numpy as np
from jaxtyping import UInt8


def sharpness(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Variance of the Laplacian of the luminance (Pech-Pacheco et al., ICPR 2000), in squared grey levels.

    Luminance is BT.601's, rounded to whole grey levels; the Laplacian is that of the four direct neighbours, the border
    mirrored about its outermost pixels. It grows with the contrast and with fine noise, too: compare images of one size
    and one kind.
    """
    luminance = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(luminance, cv2.CV_64F).var())
