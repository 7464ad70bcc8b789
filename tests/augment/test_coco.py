"""COCO's key points become the 18 joints of the images that they are of, and of their main persons."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from augment.coco import NAMES, read_coco
from augment.data.keypoints import JOINTS
from augment.pose_estimation import openpose_of_coco

HEIGHT, WIDTH = 40, 20


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{name}.png" for name in ("a", "b", "c")]
    for path in paths:
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
    return paths


def joints(seed=0, scale=1.0):
    """17 triples (x, y, 2), spread over an area that grows with `scale`."""
    rng = np.random.default_rng(seed)
    places = rng.integers(1, 10, (17, 2)) * scale
    return np.column_stack([places, np.full(17, 2)])


def person(image, triples, **others):
    return {"image_id": image, "category_id": 1, "keypoints": triples.ravel().tolist(), **others}


def write(folder, annotations, names=("a.png", "b.png"), **others):
    entries = [
        {"id": index, "file_name": name, "height": HEIGHT, "width": WIDTH} for index, name in enumerate(names, start=10)
    ]
    path = folder / "persons.json"
    path.write_text(json.dumps({"images": entries, "annotations": annotations, **others}))
    return path


def expected(triples):
    return openpose_of_coco(triples[None, :, [1, 0]].astype(float))[0]


def test_joints_by_their_names(images, tmp_path):
    triples = joints()
    triples[NAMES.index("left_wrist")] = (3, 4, 1)  # hidden, and annotated
    triples[NAMES.index("left_hip"), 2] = 0  # not annotated
    triples[NAMES.index("right_shoulder")] = 0
    path = write(tmp_path, [person(10, triples)], categories=[{"id": 1, "keypoints": list(NAMES)}])
    found = read_coco(path, images)
    assert found.keys() == {"a.png", "b.png"}, "of c nothing is said"
    assert np.isnan(found["b.png"]).all(), "b shows nobody"
    for place, name in enumerate(JOINTS):
        if name in ("neck", "left hip", "right shoulder"):
            assert np.isnan(found["a.png"][place]).all()
        else:
            x, y, _ = triples[NAMES.index(name.replace(" ", "_"))]
            assert found["a.png"][place].tolist() == [y, x], name


def test_of_several_persons_the_largest_or_the_best(images, tmp_path):
    small, large = joints(1), joints(2, scale=1.5)
    others = [person(11, joints(3)), person(10, joints(4, 1.9), iscrowd=1)]
    for order in ([small, large], [large, small]):
        path = write(tmp_path, [*(person(10, triples) for triples in order), *others])
        np.testing.assert_array_equal(read_coco(path, images)["a.png"], expected(large))
    boxed = [person(10, small, bbox=[0, 0, 20, 40]), person(10, large, bbox=[0, 0, 20, 20])]
    np.testing.assert_array_equal(read_coco(write(tmp_path, boxed), images)["a.png"], expected(small))
    scored = [person(10, large, score=0.2, bbox=[0, 0, 20, 40]), person(10, small, score=0.9, bbox=[0, 0, 1, 1])]
    np.testing.assert_array_equal(read_coco(write(tmp_path, scored), images)["a.png"], expected(small))


def test_folders_before_a_name_do_not_count(images, tmp_path):
    path = write(tmp_path, [person(10, joints())], names=("train2017/a.png", "x/z.png"))
    assert list(read_coco(path, images)) == ["a.png"]


def refused(path, images, words):
    with pytest.raises(ValueError, match=words):
        read_coco(path, images)


def test_what_is_refused(images, tmp_path):
    path = write(tmp_path, [], names=("z.png",))
    refused(path, images, r"persons\.json: lists none of the 3 images \(a\.png, \.\.\.\) but z\.png")
    refused(write(tmp_path, [], names=("a.png", "x/a.png")), images, "lists a.png twice")
    refused(write(tmp_path, [person(10, joints()[:16])]), images, "a.png: expected 51 numbers as `keypoints`, found")
    path.write_text(path.read_text().replace('"keypoints": [', '"keypoints": [null, ').replace(", 2]", "]"))
    refused(path, images, "a.png: expected 51 numbers")
    halpe = [{"id": 1, "keypoints": [*NAMES, "head"]}]
    refused(write(tmp_path, [], categories=halpe), images, "its joints are nose, left_eye.* expected COCO's 17")
    Image.new("RGB", (WIDTH, 2 * HEIGHT)).save(images[0])
    refused(write(tmp_path, []), images, r"a\.png is annotated at 40x20 \(height x width\), the image is 80x20")
    for content in (5, {"images": []}, {"images": {}, "annotations": []}):
        path.write_text(json.dumps(content))
        refused(path, images, "expected COCO's lists `images` and `annotations`")
    path.write_text("no json")
    refused(path, images, "not a JSON file")


IMAGE = {"id": 10, "file_name": "a.png"}
TWO = [person(10, joints(1)), person(10, joints(2))]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"images": [{"file_name": "a.png"}]}, "entry 0 of `images` is not as in COCO (`id` None); correct or remove"),
        ({"images": [IMAGE, {"id": 11, "file_name": 5}]}, "entry 1 of `images` is not as in COCO (`file_name` 5)"),
        ({"images": [IMAGE | {"id": [10]}]}, "entry 0 of `images` is not as in COCO (`id` [10])"),
        ({"images": [7]}, "entry 0 of `images` is not as in COCO (7)"),
        ({"annotations": [{"keypoints": [1]}]}, "entry 0 of `annotations` is not as in COCO (`image_id` None)"),
        ({"annotations": [*TWO, None]}, "entry 2 of `annotations` is not as in COCO (None)"),
        ({"annotations": [TWO[0] | {"image_id": {}}]}, "entry 0 of `annotations` is not as in COCO (`image_id` {})"),
        ({"annotations": [TWO[0] | {"keypoints": [10**400] * 51}]}, "a.png: expected 51 numbers as `keypoints`"),
        ({"annotations": [TWO[0] | {"keypoints": {"nose": 1}}]}, "a.png: expected 51 numbers as `keypoints`"),
        ({"annotations": [TWO[0] | {"score": None}]}, "a.png: expected 1 numbers as `score`, found None"),
        ({"annotations": [TWO[0], TWO[1] | {"score": "best"}]}, "a.png: expected 1 numbers as `score`, found best"),
        ({"annotations": [TWO[0] | {"score": float("nan")}]}, "a.png: expected 1 numbers as `score`, found nan"),
        ({"annotations": [TWO[0] | {"bbox": None}]}, "a.png: expected 4 numbers as `bbox`, found None"),
        ({"annotations": [TWO[0] | {"bbox": [0, 0, "x", 9]}]}, "a.png: expected 4 numbers as `bbox`, found [0, 0, 'x'"),
        ({"annotations": [TWO[0] | {"bbox": [0, 0, 9]}]}, "a.png: expected 4 numbers as `bbox`, found [0, 0, 9]"),
        ({"categories": ["person"]}, "its joints are person, expected COCO's 17"),
        ({"categories": {"keypoints": 17}}, "its joints are 17, expected COCO's 17"),
        ({"categories": [{"keypoints": [1, None]}]}, "its joints are 1, None, expected COCO's 17"),
    ],
)
def test_a_malformed_entry_is_named(images, tmp_path, changed, words):
    path = tmp_path / "persons.json"
    path.write_text(json.dumps({"images": [IMAGE], "annotations": TWO} | changed))
    refused(path, images, f"^{re.escape(f'{path}: {words}')}[^\n]*$")


def test_the_results_of_a_detector_are_of_the_images_of_another_file(images, tmp_path):
    listing = write(tmp_path, [])
    results = tmp_path / "results.json"
    worse, better = joints(1, scale=1.5), joints(2)
    entries = [person(10, worse, score=0.3), person(10, better, score=0.8), person(99, worse, score=1.0)]
    results.write_text(json.dumps(entries))
    found = read_coco(results, images, listing)
    assert found.keys() == {"a.png", "b.png"}
    np.testing.assert_array_equal(found["a.png"], expected(better))
    assert np.isnan(found["b.png"]).all()
    with pytest.raises(ValueError, match=r"results\.json: a detector's results, .* as --coco-images"):
        read_coco(results, images)
    with pytest.raises(ValueError, match=r"persons\.json: lists its images itself; leave --coco-images out"):
        read_coco(listing, images, listing)
    with pytest.raises(ValueError, match=r"results\.json: expected COCO's list `images`"):
        read_coco(results, images, results)
    results.write_text(json.dumps(entries[2:]))
    with pytest.raises(ValueError, match=r"results\.json: none of its images \(99\) is numbered in .*persons\.json"):
        read_coco(results, images, listing)
