"""RTMPose's preparation and decoding as MMPose and rtmlib have them, step by step: the slow twin of augment.rtmpose."""

import cv2
import numpy as np


def prepare(image, size):
    """The network's input for the box of the whole image; also the box's centre and padded size, both (x, y)."""
    height, width = image.shape[:2]
    centre, box = np.array([width, height]) / 2, np.array([width, height]) * 1.25
    aspect = size[1] / size[0]
    wide = box[0] > box[1] * aspect
    box = np.array([box[0], box[0] / aspect]) if wide else np.array([box[1] * aspect, box[1]])
    middle = np.array([size[1], size[0]]) / 2
    corners = [
        np.float32([(x, y), (x, y - side / 2), (x - side / 2, y - side / 2)])
        for (x, y), side in ((centre, box[0]), (middle, size[1]))
    ]
    warp = cv2.getAffineTransform(*corners)
    crop = cv2.warpAffine(image, warp, (size[1], size[0]), flags=cv2.INTER_LINEAR)
    planes = (crop - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
    return planes.transpose(2, 0, 1)[None].astype(np.float32), centre, box


def decode(simcc_x, simcc_y, centre, box, size):
    """(x, y) of each joint and its score."""
    points, scores = [], []
    for column, row in zip(simcc_x[0], simcc_y[0], strict=True):
        place = np.array([column.argmax(), row.argmax()]) / 2.0
        points.append(place / [size[1], size[0]] * box + centre - box / 2)
        scores.append(min(column.max(), row.max()))
    return np.array(points), np.array(scores)
