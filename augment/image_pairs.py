"""What is compared: generated images, the true image and the source of each where they are known, and real ones.

A generator on pairs of test images, or a synthetic set beside its training images; folders: augment.image_folders.
Pixels are read or made when they are asked for, some rows at a time; none of this is too large for memory.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8

from augment import audit, image_saving
from augment.data import keypoints, posemaps
from augment.data.images import read_image, read_images
from augment.data.pairs import Pairs, read_pairs
from augment.data.records import DISTRACTOR, DataSet, Record
from augment.score_columns import find_sources
from augment.store import Reader
from generators.generator import Generator
from generators.tensors import from_uint8

COUNT = 1_000  # random pairs
IDENTITIES, IMAGES, SOME_KNOWN = "identities", "images", "identities_and_unknown_images"
Rows = Int64[np.ndarray, " b"]
Pixels = UInt8[np.ndarray, "b h w 3"]
Read = Callable[[Rows], Pixels]
Points = Mapping[str, keypoints.Points]


@dataclass(frozen=True)
class Compared:
    """Generated images, a row each. `source` and `true` may be asked for rows that have them only."""

    size: tuple[int, int]
    generated: Read
    people: Int64[np.ndarray, " n"]  # whose images are resampled together
    unit: str  # what they are: IDENTITIES, IMAGES where nobody is known, or SOME_KNOWN
    paired: Bool[np.ndarray, " n"]  # which rows have a true image
    true: Read
    source: Read | None
    poses: Float32[np.ndarray, "n 18 2"] | None  # asked for; None where any row's is unknown
    real: tuple[Record, ...]  # what distributions are compared with
    other: tuple[Record, ...]  # further real images, whose distance to the first is the floor; none: halves of `real`
    other_poses: Float32[np.ndarray, "m 18 2"] | None
    reader: Reader | None = None  # of a synthetic set
    says: dict[str, Any] = field(default_factory=dict)  # how it came about
    notes: tuple[str, ...] = ()  # what must be known of it, a sentence each
    saved: str = "lossless"
    resize: bool = False  # real images of another size are resized to this one (bilinear)

    def __len__(self) -> int:
        return len(self.people)


@dataclass(frozen=True)
class Chosen:
    """Pairs (source, target) of test images, as numbers of records."""

    records: tuple[Record, ...]
    points: Float32[np.ndarray, "m 18 2"]
    pairs: Int64[np.ndarray, "n 2"]
    says: dict[str, Any]
    notes: tuple[str, ...] = ()


def choose_pairs(
    dataset: DataSet, points: Points, listed: Path | None, count: int | None, *, same_camera: bool, seed: int
) -> Chosen:
    """The pairs of a list (`listed`, else the data set's own), or random ones (COUNT), each once.

    Of a list with more than `count` pairs that many are taken at random. With `same_camera` no list is looked for.

    Raises:
        ValueError: no test images, no pair, or a pair of two persons or of an image with itself.
    """
    test = test_images(dataset)
    if not test:
        raise ValueError(f"{dataset.root}: has no query or gallery, so nobody that the generator has not seen")
    path = listed or dataset.test_pairs
    notes: tuple[str, ...] = ()
    if path is None or same_camera:
        if listed is not None:
            raise ValueError("--same-camera: chooses random pairs, but --pairs lists them; leave one of them out")
        records = keypoints.usable(test, points)
        pairs = _drawn(records, count or COUNT, same_camera, seed)
        notes = _notes_of_drawn(test, records, pairs, count, same_camera)
        cameras = "of one camera" if same_camera else "of any cameras"
        says = {"pairs": f"{len(pairs)} random pairs of test identities, {cameras}", "pairs_seed": seed}
    else:
        records = tuple(sorted(test, key=lambda record: record.name))
        all_listed = read_pairs(path, records)
        if len(same := np.flatnonzero(all_listed[:, 0] == all_listed[:, 1])):
            name = records[all_listed[same[0], 0]].name
            raise ValueError(f"{path}: {name} is paired with itself, so there is nothing to generate; take it out")
        pairs = all_listed[np.sort(np.unique(all_listed, axis=0, return_index=True)[1])]
        with_torso = [record.name in points and bool(keypoints.has_torso(points[record.name])) for record in records]
        kept = pairs[np.asarray(with_torso)[pairs].all(axis=1)]
        of_list = kept[_some(len(kept), count or len(kept), seed)]
        says = {
            "pairs": f"{len(of_list)} pairs of {path.name}",
            "listed": len(all_listed),
            "left_out_repeated": len(all_listed) - len(pairs),
            "left_out_without_torso": len(pairs) - len(kept),
        }
        notes = (*_notes_of_list(says), *_note_of_fewer(len(of_list), count))
        pairs = of_list
    if not len(pairs):
        raise ValueError(f"{path or dataset.root}: no pair of images with key points; check them with `augment check`")
    people = np.asarray([record.pid for record in records])[pairs]
    if len(wrong := np.flatnonzero(people[:, 0] != people[:, 1])):
        source, target = (records[index].name for index in pairs[wrong[0]])
        raise ValueError(f"{path}: {source} and {target} show two persons, so there is no true image; take them out")
    used, local = np.unique(pairs, return_inverse=True)
    chosen = tuple(records[index] for index in used)
    return Chosen(chosen, keypoints.stack(chosen, points), local.reshape(pairs.shape).astype(np.int64), says, notes)


def of_generator(
    network: Generator, chosen: Chosen, real: Sequence[Record], device: torch.device, saved: str = "lossless"
) -> Compared:
    """A generator's images for pairs of people that it has not seen, as they are after saving.

    Raises:
        ValueError: an image that cannot be read.
    """
    source, target = chosen.pairs.T
    size = read_image(chosen.records[0].path).shape[:2]
    read = reading(chosen.records, size)

    @torch.inference_mode()
    def generated(rows: Rows) -> Pixels:
        image = from_uint8(torch.from_numpy(read(source[rows])).to(device))
        source_map, target_map = (
            posemaps.render(torch.from_numpy(chosen.points[of[rows]]).to(device), size, kind=network.pose_map)
            for of in (source, target)
        )
        return image_saving.saved(network(image, source_map, target_map), saved)

    return of_chosen(chosen, generated, read, size, real, saved)


def of_chosen(
    chosen: Chosen,
    generated: Read,
    read: Read,
    size: tuple[int, int],
    real: Sequence[Record],
    saved: str = "lossless",
    *,
    annotated: bool = True,
) -> Compared:
    """Generated images of pairs, a row each; `read` gives the records' pixels, `annotated` says if all have points."""
    source, target = chosen.pairs.T
    distinct = np.unique(target)
    return Compared(
        size,
        generated,
        np.asarray([record.pid for record in chosen.records])[target].astype(np.int64),
        IDENTITIES,
        np.ones(len(target), dtype=bool),
        lambda rows: read(target[rows]),
        lambda rows: read(source[rows]),
        chosen.points[target] if annotated else None,
        tuple(real),
        tuple(chosen.records[index] for index in distinct),
        chosen.points[distinct] if annotated else None,
        says=chosen.says,
        notes=chosen.notes,
        saved=saved,
    )


def of_set(reader: Reader, dataset: DataSet, points: Points | None, seed: int) -> Compared:
    """A synthetic set beside the images that it was made from.

    A row has a true image where its target pose is that of another image of the same person.

    Raises:
        ValueError: an unfinished set, or one that was made from other data.
    """
    path = reader.path
    if not reader.attributes.get("complete"):
        raise ValueError(f"--images {path}: one part of an unfinished set; run `augment synthesize` to its end first")
    remedy = "give the data that the set was made from"
    audit.require_same(f"--images {path}", reader.attributes, {"data_digest": dataset.digest}, remedy)
    test_too = bool(reader.attributes.get(audit.TEST_IDENTITIES))
    sources = find_sources(reader, dataset, test_too=test_too)
    test = test_images(dataset)
    named = {record.name: record for record in (*(test if test_too else ()), *dataset.train)}
    targets = [named.get(reader.target_name(row)) for row in range(len(reader))]
    own = np.asarray(reader.source_index == reader.target_index)
    paired = ~own & np.asarray(
        [target is not None and target.pid == pid for target, pid in zip(targets, reader.pid.tolist(), strict=True)],
        dtype=bool,
    )
    records = list(dict.fromkeys(record for record in targets if record is not None))
    place = {record: index for index, record in enumerate(records)}
    target_place = np.asarray([-1 if record is None else place[record] for record in targets])
    read_true, read_source = (reading(part, reader.size, resize=True) for part in (records, sources.records))
    other = keypoints.usable(test, points) if points and test else test
    other = tuple(other[index] for index in _some(len(other), len(reader), seed))
    poses = reader.target_pose
    whose = "training and test identities" if test_too else "training identities"
    images = f"of {whose}, whom the generator may have seen"
    return Compared(
        reader.size,
        lambda rows: np.stack([reader.image(int(row)) for row in rows]),
        reader.pid,
        IDENTITIES,
        paired,
        lambda rows: read_true(target_place[rows]),
        lambda rows: read_source(sources.place[rows]),
        poses if bool(keypoints.has_torso(poses).all()) else None,
        dataset.train,
        other,
        keypoints.stack(other, points) if points and other else None,
        reader,
        {
            "images": images,
            "set_content_sha256": reader.content_sha256,
            "with_true_image": int(paired.sum()),
            "of_own_pose": int(own.sum()),
        },
        _notes_of_set(images, paired, own),
        resize=True,
    )


def _notes_of_list(says: Mapping[str, Any]) -> tuple[str, ...]:
    notes = []
    if repeated := says["left_out_repeated"]:
        notes.append(f"{repeated:,} listed pairs left out: they are listed before, and a pair counts once")
    if torso := says["left_out_without_torso"]:
        notes.append(f"{torso:,} listed pairs left out: an image without annotated shoulders and hips")
    return tuple(notes)


def _notes_of_drawn(
    test: Sequence[Record], usable: Sequence[Record], pairs: Int64[np.ndarray, "n 2"], count: int | None, same: bool
) -> tuple[str, ...]:
    """Which test images no pair can be of, and what that leaves."""
    fewer = _note_of_fewer(len(pairs), count)
    if len(usable) == len(test):
        return fewer
    lacking = f"{len(test) - len(usable):,} of {len(test):,} test images lack key points of shoulders and hips"
    all_pairs = min(len(_pairs_of(test, same)), count or COUNT)
    if len(pairs) == all_pairs:
        return (f"{lacking}: no pair is of them", *fewer)
    people, all_people = len({usable[index].pid for index in pairs.ravel()}), len({record.pid for record in test})
    left = f"{len(pairs):,} of {all_pairs:,} pairs are left, of {people:,} of {all_people:,} identities"
    return (f"{lacking}: {left}", *fewer)


def _note_of_fewer(there: int, count: int | None) -> tuple[str, ...]:
    if count is None or there >= count:
        return ()
    return (f"{there:,} pairs of the {count:,} that --count asks for: there are no more",)


def _notes_of_set(images: str, paired: Bool[np.ndarray, " n"], own: Bool[np.ndarray, " n"]) -> tuple[str, ...]:
    notes = [f"images {images}; {paired.sum():,} of {len(paired):,} rows have a true image"]
    if own.any():
        notes.append(f"{own.sum():,} rows have the pose of their own source, which is no true image: not compared")
    return tuple(notes)


def reading(records: Sequence[Record], size: tuple[int, int], *, resize: bool = False) -> Read:
    """Pixels of those records whose numbers are asked for."""

    def read(rows: Rows) -> Pixels:
        used, of_row = np.unique(rows, return_inverse=True)
        return read_images([records[index] for index in used], size, resize)[of_row]

    return read


def test_images(dataset: DataSet) -> list[Record]:
    """Those of query and gallery that show somebody, by name."""
    test = dict.fromkeys(record for record in (*dataset.query, *dataset.gallery) if record.pid > DISTRACTOR)
    return sorted(test, key=lambda record: record.name)


def _drawn(records: Sequence[Record], count: int, same_camera: bool, seed: int) -> Int64[np.ndarray, "n 2"]:
    """`count` different pairs, or all where there are no more."""
    pairs = _pairs_of(records, same_camera)
    chosen = _some(len(pairs), count, seed)
    return np.asarray([pairs[int(index)] for index in chosen], dtype=np.int64).reshape(-1, 2)


def _pairs_of(records: Sequence[Record], same_camera: bool) -> Pairs:
    return Pairs([record.pid for record in records], [record.camid for record in records] if same_camera else None)


def _some(total: int, count: int, seed: int) -> Int64[np.ndarray, " n"]:
    """`count` different numbers below `total`, or all of them, ascending."""
    return np.sort(np.random.default_rng([seed, 4]).permutation(total)[:count])
