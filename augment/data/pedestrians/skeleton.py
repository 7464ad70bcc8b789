"""The skeleton: poses as joint angles, the gait cycle, and forward kinematics to OpenPose's 18 joints.

Lengths are in statures (1.0 is the height of the person), angles in radians. World axes at heading 0: x to the right of
the picture, y up, z towards the camera. A person at heading 0 faces the camera, so that the anatomical left is +x.
Segment lengths are the average proportions of Drillis and Contini (1966), 7.5 heads to the stature.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

JOINTS = (
    "nose",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "right_eye",
    "left_eye",
    "right_ear",
    "left_ear",
)
SIDES = {"right": -1.0, "left": 1.0}
VIEWS = ("front", "side", "back")

HIP, KNEE, ANKLE = 0.520, 0.282, 0.042
WAIST, SHOULDER, NECK_TOP = 0.620, 0.812, 0.870
UPPER_ARM, FOREARM, HAND = 0.176, 0.146, 0.062
FOOT = 0.118


@dataclass(frozen=True)
class Limbs:
    """Angles of one side's arm and leg."""

    shoulder: float = 0.0  # forward
    spread: float = 0.14  # of the arm, away from the body
    inward: float = 0.0  # turn of the upper arm that brings a bent forearm before the body
    elbow: float = 0.2
    hip: float = 0.0  # forward
    stance: float = 0.03  # of the leg, away from the body
    knee: float = 0.05
    ankle: float = 0.0  # toes down


@dataclass(frozen=True)
class Pose:
    """Joint angles in radians. `heading` 0 faces the camera, +pi/2 shows the right shoulder to it, pi the back."""

    heading: float = 0.0
    lean: float = 0.03
    roll: float = 0.0
    twist: float = 0.0
    head_yaw: float = 0.0
    head_pitch: float = 0.0
    right: Limbs = field(default_factory=Limbs)
    left: Limbs = field(default_factory=Limbs)


@dataclass(frozen=True)
class Proportions:
    """Factors on the average body; 1.0 is the average."""

    shoulders: float = 1.0
    hips: float = 1.0
    girth: float = 1.0
    legs: float = 1.0
    head: float = 1.0


@dataclass(frozen=True)
class Skeleton:
    """A posed body: `points` maps a name to its place (3,), `frames` a segment to its rotation (3, 3)."""

    points: dict[str, np.ndarray]
    frames: dict[str, np.ndarray]

    def joints(self) -> np.ndarray:
        """The OpenPose joints in statures, float64 (18, 3)."""
        return np.array([self.points[name] for name in JOINTS])


def walking(phase: float, stride: float = 1.0, heading: float = 0.0) -> Pose:
    """One moment of the gait cycle; `phase` runs over 2 pi, `stride` 1 is a brisk walk."""

    def limbs(swing: float, lift: float) -> Limbs:
        return Limbs(
            shoulder=-0.42 * stride * swing,
            elbow=0.22 + 0.26 * stride * max(0.0, -swing),
            hip=0.06 + 0.43 * stride * swing,
            stance=0.0,
            knee=0.10 + 0.85 * stride * max(0.0, lift) ** 1.4,
            ankle=0.30 * stride * max(0.0, -swing) * (0.4 + 0.6 * max(0.0, lift)),
        )

    left, right = math.sin(phase), math.sin(phase + math.pi)
    return Pose(
        heading=heading,
        lean=0.05,
        roll=0.03 * stride * left,
        twist=0.14 * stride * left,
        right=limbs(right, math.cos(phase + math.pi)),
        left=limbs(left, math.cos(phase)),
    )


def standing(rng: np.random.Generator, heading: float = 0.0) -> Pose:
    """Weight on one leg, arms hanging."""
    shift = rng.uniform(-0.09, 0.09)
    bend = {"right": max(0.0, shift) * 3.0, "left": max(0.0, -shift) * 3.0}
    side = {
        name: Limbs(
            shoulder=rng.normal(0.0, 0.10),
            spread=rng.uniform(0.10, 0.22),
            elbow=rng.uniform(0.08, 0.5),
            hip=rng.normal(0.0, 0.05) + 0.5 * bend[name],
            stance=rng.uniform(0.02, 0.11),
            knee=0.03 + bend[name],
        )
        for name in SIDES
    }
    return Pose(heading=heading, lean=rng.uniform(0.0, 0.06), roll=0.4 * shift, right=side["right"], left=side["left"])


GESTURES = {
    "phone": Limbs(shoulder=0.42, spread=0.16, inward=0.45, elbow=1.95),
    "call": Limbs(shoulder=0.55, spread=0.55, inward=0.2, elbow=2.45),
    "pocket": Limbs(shoulder=-0.22, spread=0.30, inward=0.30, elbow=0.75),
    "strap": Limbs(shoulder=0.30, spread=0.18, inward=0.75, elbow=2.15),
    "folded": Limbs(shoulder=0.45, spread=0.10, inward=1.05, elbow=1.65),
    "point": Limbs(shoulder=1.15, spread=0.25, elbow=0.25),
}


def sample_heading(rng: np.random.Generator, view: str) -> float:
    """A heading in radians, in [-pi, pi], well inside one of `VIEWS`."""
    around = {"front": 0.0, "side": math.pi / 2 * rng.choice((-1.0, 1.0)), "back": math.pi}[view]
    heading = around + rng.uniform(-0.62, 0.62)
    return math.remainder(heading, 2 * math.pi)


def view_of(heading: float) -> str:
    """Which of `VIEWS` a heading shows."""
    away = abs(math.remainder(heading, 2 * math.pi))
    return VIEWS[0] if away < math.pi / 4 else VIEWS[1] if away < 3 * math.pi / 4 else VIEWS[2]


def sample_pose(rng: np.random.Generator, heading: float, activity: str = "walk") -> Pose:
    """A pose at `heading`; `activity` is walk, stand or turn; arms make a gesture at times, more when standing."""
    if activity == "stand":
        pose = standing(rng, heading)
    else:
        pose = walking(rng.uniform(0.0, 2 * math.pi), rng.uniform(0.55, 1.15), heading)
    if activity == "turn":
        turn = rng.choice((-1.0, 1.0)) * rng.uniform(0.35, 0.6)
        pose = replace(pose, twist=pose.twist + turn, head_yaw=turn, lean=rng.uniform(0.02, 0.14))
    for side in SIDES:
        if rng.random() < (0.16 if activity == "walk" else 0.38):
            gesture = GESTURES[str(rng.choice(list(GESTURES)))]
            angles = ("shoulder", "spread", "inward", "elbow")
            arm = {name: getattr(gesture, name) + rng.normal(0.0, 0.08) for name in angles}
            pose = replace(pose, **{side: replace(getattr(pose, side), **arm)})
    return replace(
        pose,
        head_yaw=pose.head_yaw + rng.normal(0.0, 0.22),
        head_pitch=rng.normal(0.05, 0.12),
        lean=pose.lean + rng.normal(0.0, 0.03),
    )


def rotation(axis: int, angle: float) -> np.ndarray:
    """The right-handed rotation about a world axis (0 x, 1 y, 2 z), float64 (3, 3)."""
    cos, sin = math.cos(angle), math.sin(angle)
    matrix = np.eye(3)
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix[first, first] = matrix[second, second] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix


def pose_skeleton(pose: Pose, proportions: Proportions) -> Skeleton:
    """Forward kinematics from the pelvis out; the lower foot stands on y = 0."""
    thigh, shin = (HIP - KNEE) * proportions.legs, (KNEE - ANKLE) * proportions.legs
    torso = 1.0 - (proportions.legs - 1.0) * HIP / (1.0 - HIP)
    pelvis = rotation(1, pose.heading) @ rotation(2, pose.roll)
    chest = pelvis @ rotation(0, pose.lean) @ rotation(2, -1.5 * pose.roll) @ rotation(1, -pose.twist)
    head = chest @ rotation(1, pose.head_yaw) @ rotation(0, pose.head_pitch - 0.6 * pose.lean)
    points = {"pelvis": np.array([0.0, HIP, 0.0])}
    frames = {"pelvis": pelvis, "chest": chest, "head": head}

    points["waist"] = points["pelvis"] + pelvis @ [0.0, (WAIST - HIP) * torso, 0.0]
    points["neck"] = points["waist"] + chest @ [0.0, (SHOULDER + 0.006 - WAIST) * torso, 0.004]
    points["nape"] = points["waist"] + chest @ [0.0, (SHOULDER + 0.022 - WAIST) * torso, -0.008]
    points["skull"] = points["nape"] + chest @ [0.0, (NECK_TOP - SHOULDER - 0.022) * torso, 0.006]
    size = proportions.head
    for name, place in {
        "jaw": (0.0, 0.026, 0.018),
        "crown": (0.0, 0.072, 0.006),
        "nose": (0.0, 0.038, 0.066),
        "right_eye": (-0.019, 0.058, 0.052),
        "left_eye": (0.019, 0.058, 0.052),
        "right_ear": (-0.045, 0.046, 0.0),
        "left_ear": (0.045, 0.046, 0.0),
    }.items():
        points[name] = points["skull"] + head @ (np.array(place) * size)

    for side, sign in SIDES.items():
        limbs: Limbs = getattr(pose, side)
        points[f"{side}_shoulder"] = points["neck"] + chest @ [sign * 0.104 * proportions.shoulders, -0.016, -0.004]
        raised = chest @ rotation(2, sign * limbs.spread) @ rotation(0, -limbs.shoulder)
        upper = raised @ rotation(1, -sign * limbs.inward)
        fore = upper @ rotation(0, -limbs.elbow)
        points[f"{side}_elbow"] = points[f"{side}_shoulder"] + upper @ [0.0, -UPPER_ARM, 0.0]
        points[f"{side}_wrist"] = points[f"{side}_elbow"] + fore @ [0.0, -FOREARM, 0.0]
        points[f"{side}_hand"] = points[f"{side}_wrist"] + fore @ rotation(0, -0.15) @ [0.0, -HAND, 0.0]

        points[f"{side}_hip"] = points["pelvis"] + pelvis @ [sign * 0.054 * proportions.hips, 0.0, 0.0]
        femur = pelvis @ rotation(2, sign * limbs.stance) @ rotation(0, -limbs.hip)
        tibia = femur @ rotation(0, limbs.knee)
        foot = tibia @ rotation(1, sign * 0.16) @ rotation(0, limbs.ankle)
        points[f"{side}_knee"] = points[f"{side}_hip"] + femur @ [0.0, -thigh, 0.0]
        points[f"{side}_ankle"] = points[f"{side}_knee"] + tibia @ [0.0, -shin, 0.0]
        points[f"{side}_heel"] = points[f"{side}_ankle"] + foot @ [0.0, -ANKLE + 0.022, -0.016]
        points[f"{side}_toe"] = points[f"{side}_ankle"] + foot @ [0.0, -ANKLE + 0.015, FOOT - 0.026]
        frames |= {f"{side}_upper_arm": upper, f"{side}_forearm": fore, f"{side}_thigh": femur}
        frames |= {f"{side}_shin": tibia, f"{side}_foot": foot}

    sole = min(points[f"{side}_{part}"][1] for side in SIDES for part in ("heel", "toe")) - 0.017
    drop = np.array([0.0, sole, 0.0])
    return Skeleton({name: place - drop for name, place in points.items()}, frames)
