"""A set beside its data: forged labels, sources, poses and test identities are found."""

import shutil

import h5py
import numpy as np

from augment import plan, store
from augment.data import keypoints
from augment.data.read import read_data
from augment.verification import OK, Check
from tests import fuzzing
from tests.forging import change, forge, replace, set_attribute, set_value, states, wrong


def rename_file(old, new):
    def edit(file):
        names = [new.encode() if name == old.encode() else name for name in file["files"][...]]
        replace("files", data=np.asarray(names, h5py.string_dtype("utf-8", 64)))(file)

    return edit


def test_another_data_set_or_annotation_is_found(made, pedestrians, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(pedestrians, fewer)
    next((fewer / "bounding_box_train").glob("0002*")).unlink()
    assert "made of another training split" in wrong(made, fewer)["data"]
    shutil.rmtree(fewer)
    shutil.copytree(pedestrians, fewer)
    annotation = fewer / "market-annotation-train.csv"
    points = keypoints.read_annotation(annotation)
    name = store.Reader(made).target_name(0)
    points[name] = points[name] + 3
    keypoints.write_annotation(annotation, points)
    found = wrong(made, fewer)
    assert "made with other key points" in found["data"]
    assert "target poses are not those of their targets: row" in found["target poses"]


def test_forged_labels_sources_and_poses_are_found(made, pedestrians):
    whole = made.read_bytes()
    forge(made, lambda file: (set_value("pid", 3, 999)(file), set_value("camid", 4, 9)(file)))
    assert wrong(made, pedestrians) == {"sources": "1 of 34 rows have another pid than their source: row 3"}
    made.write_bytes(whole)
    forge(made, rename_file(store.Reader(made).target_name(0), "nobody.jpg"))
    found = wrong(made, pedestrians)
    assert found.keys() == {"sources", "target poses"}
    assert "'nobody.jpg'" in found["sources"]
    made.write_bytes(whole)
    forge(made, set_value("target_pose", (7, 2, 1), 60.0))
    assert wrong(made, pedestrians) == {"target poses": "1 of 34 target poses are not those of their targets: row 7"}
    made.write_bytes(whole)
    forge(made, set_value("target_pose", (7, 2, 1), np.inf))
    assert wrong(made, pedestrians).keys() == {"target poses"}
    made.write_bytes(whole)
    forge(made, set_value("target_pose", (7, 2), np.nan))
    assert wrong(made, pedestrians).keys() == {"target poses"}


def test_test_identities_are_found_unless_the_set_admits_them(made, pedestrians):
    dataset = read_data(pedestrians)
    place, name = store.Reader(made).target_index[0], store.Reader(made).target_name(0)
    leaked = dataset.query[0]

    def leak(file):
        rename_file(name, leaked.name)(file)
        rows = file["source_index"][...] == place
        for column, value in (("pid", leaked.pid), ("camid", leaked.camid)):
            file[column][...] = np.where(rows, value, file[column][...])

    forge(made, leak)
    found = wrong(made, pedestrians)
    assert found["test identities"] == (
        f"images of query and gallery: 1, identities of theirs: 1 ({leaked.pid}, '{leaked.name}')"
    )
    assert found.keys() == {"sources", "test identities", "target poses"}
    change(made, set_attribute("test_identities", True))
    found = states(made, pedestrians)
    assert found["test identities"].state == found["sources"].state == OK
    assert "as the set admits" in found["test identities"].said
    assert "for image quality only" in found["provenance"].said


def test_poses_of_no_image_need_a_file_of_poses(made, pedestrians):
    def foreign(file):
        names = [*file["files"][...], b"invented.jpg"]
        replace("files", data=np.asarray(names, h5py.string_dtype("utf-8", 64)))(file)
        file["target_index"][0] = len(names) - 1

    forge(made, foreign)
    assert wrong(made, pedestrians) == {"target poses": "1 of 24 targets are no training images: 'invented.jpg'"}
    change(made, set_attribute("config", {"poses": "file", "poses_sha256": "3" * 64}))
    assert states(made, pedestrians)["target poses"].said == "33 compared, 1 of no image of DATA"


def test_poses_are_compared_at_the_size_of_the_set(pedestrians, tmp_path):
    """An import may have other sizes than the data: the points move with the pixels."""
    dataset = read_data(pedestrians)
    points = keypoints.dataset_points(dataset)
    records = keypoints.usable(dataset.train, points)[:4]
    unknown = np.full((1, 18, 2), np.nan, np.float32)
    table = plan.Plan(
        files=tuple(record.name for record in records),
        poses=np.concatenate([keypoints.stack(records[:3], points) / 2, unknown]).astype(np.float32),
        pid=np.asarray([record.pid for record in records]),
        camid=np.asarray([record.camid for record in records]),
        source_index=np.arange(4),
        target_index=np.asarray([1, 2, 3, -1]),
        seed=np.zeros(4, np.uint64),
    )
    provenance = fuzzing.PROVENANCE | {"data_digest": dataset.digest}
    del provenance["points_digest"]
    made = store.write_set(tmp_path / "half.h5", table, provenance, iter([np.zeros((4, 64, 32, 3), np.uint8)]))
    found = states(made, pedestrians)
    assert found["target poses"] == Check("target poses", OK, "2 compared, 2 unknown")
    forge(made, set_value("target_pose", (0, 2), [1.0, 1.0]))
    assert wrong(made, pedestrians).keys() == {"target poses"}
