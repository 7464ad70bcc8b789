"""PATN's body mask as its authors draw it, shape by shape with scikit-image."""

import numpy as np
from skimage.draw import disk, polygon
from skimage.morphology import dilation, erosion

LIMBS = [(2, 3), (2, 6), (3, 4), (4, 5), (6, 7), (7, 8), (2, 9), (9, 10), (10, 11), (2, 12), (12, 13), (13, 14)]
LIMBS += [(2, 1), (1, 15), (15, 17), (1, 16), (16, 18), (2, 17), (2, 18), (9, 12), (12, 6), (9, 3), (17, 18)]


def body_mask(points, size, radius=4):
    """Boolean (h, w); `points` are 18 rows and columns, NaN where missing. Joints are counted from 1."""
    mask = np.zeros(size, bool)
    for first, second in LIMBS:
        start, end = points[first - 1], points[second - 1]
        length = np.linalg.norm(start - end)
        if np.isnan(length) or length == 0:
            continue
        across = radius * np.array([-(start - end)[1], (start - end)[0]]) / length
        corners = np.array([start + across, start - across, end - across, end + across])
        mask[polygon(corners[:, 0], corners[:, 1], shape=size)] = True
    for point in points:
        if not np.isnan(point).any():
            mask[disk(point, radius, shape=size)] = True
    square = np.ones((5, 5), bool)
    return erosion(dilation(mask, square), square)
