"""Procedural pedestrians: a re-ID data set in Market-1501's layout whose key points are exact, drawn from a seed."""

from augment.data.pedestrians.clothes import Outfit, Person, sample_outfit, sample_person
from augment.data.pedestrians.dataset import PedestriansConfig, count_images, make_data, plan, portray
from augment.data.pedestrians.drawing import draw
from augment.data.pedestrians.scene import Camera, sample_camera
from augment.data.pedestrians.skeleton import Pose, sample_heading, sample_pose, view_of

__all__ = [
    "Camera",
    "Outfit",
    "PedestriansConfig",
    "Person",
    "Pose",
    "count_images",
    "draw",
    "make_data",
    "plan",
    "portray",
    "sample_camera",
    "sample_heading",
    "sample_outfit",
    "sample_person",
    "sample_pose",
    "view_of",
]
