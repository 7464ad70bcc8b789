"""From columns to entries: which sums, whose floor, what is left out; distances of distributions by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from augment.coverage import evenness
from augment.data.records import Record
from augment.image_entries import Measured, TooFew, entry, few_people, unequal_floors
from augment.image_pairs import Compared
from augment.image_passes import LOGITS, of_source
from augment.intervals import linear_interval
from augment.policies import cluster_poses
from generators.metrics.frechet import frechet_distance, frechet_influences, moments
from generators.metrics.inception_score import inception_score
from tests.posing import posed

OTHER = (Record(Path("a.png"), 7, 1),)


def compared(people, other=OTHER, **more):
    people = np.asarray(people)
    paired = np.ones(len(people), dtype=bool)
    real = more.pop("real", ())
    poses = more.pop("poses", None)

    def nothing(rows):
        return np.zeros((len(rows), 8, 8, 3), np.uint8)

    return Compared((8, 8), nothing, people, "identities", paired, nothing, None, poses, real, other, None, **more)


def measured(people, generated, real=None, other=None, *, others=OTHER, **more):
    return Measured(compared(people, others, **more), generated, real or {}, other or {}, None, 0)


def features(seed, count=30, shift=0.0):
    return np.random.default_rng(seed).normal(shift, 1, (count, 6)).astype(np.float32)


def test_a_mean_leaves_out_what_has_no_value():
    values = np.asarray([0.5, np.nan, 0.25, np.inf, 1.0])
    found = entry("psnr", measured([1, 1, 2, 2, 3], {"psnr": values}))
    assert found["value"] == (0.5 + 0.25 + 1.0) / 3
    assert (found["n"], found["identities"], found["left_out"]) == (3, 3, 2)
    assert found["low"] <= found["value"] <= found["high"]
    assert (found["protocol"], found["better"], found["unit"]) == ("data range 1", "higher", "dB")
    with pytest.raises(TooFew, match="infinite: every generated image equals its true one"):
        entry("psnr", measured([1, 2], {"psnr": np.full(2, np.inf)}))
    with pytest.raises(TooFew, match="no image has a value"):
        entry("ssim", measured([1, 2], {"ssim": np.full(2, np.nan)}))


def test_pckh_is_a_ratio_of_sums_and_its_floor_that_of_real_images():
    joints = np.asarray([[3, 10], [0, 0], [9, 10], [1, 5]])
    real = np.asarray([[8, 10], [5, 5]])
    found = entry("pckh", measured([1, 1, 2, 3], {"pckh": joints}, other={"pckh": real}))
    assert found["value"] == (3 + 9 + 1) / (10 + 10 + 5)
    assert found["n"] == 3, "the second image is not counted"
    assert found["floor"] == {"value": 13 / 15, "n": 2, "of": "real images"}


def test_identity_has_the_similarity_of_two_real_images_beside_it():
    columns = {
        "identity_similarity": np.asarray([0.5, 0.7]),
        of_source("identity_similarity"): np.asarray([0.9, np.nan]),
    }
    found = entry("identity_similarity", measured([1, 2], columns))
    assert found["value"] == pytest.approx(0.6)
    assert found["floor"] == {"value": 0.9, "n": 1, "of": "source and true image"}


@pytest.mark.parametrize("name", ["ssim", "ssim_standard", "ssim_pg2", "mask_ssim", "ssim_in_mask", "l1", "lpips"])
def test_comparisons_have_that_of_source_and_true_image_beside_them(name):
    columns = {name: np.asarray([0.5, 0.7, np.nan]), of_source(name): np.asarray([0.2, 0.3, np.nan])}
    found = entry(name, measured([1, 2, 3], columns))
    assert found["floor"] == {"value": pytest.approx(0.25), "n": 2, "of": "source and true image"}
    assert "floor" not in entry(name, measured([1, 2, 3], {name: columns[name]}))


def test_fid_and_its_floor():
    generated, real, other = features(0, 20, 1.0), features(1), features(2, 15)
    columns = [{"inception": each} for each in (generated, real, other)]
    found = entry("fid", measured(range(20), *columns))
    assert found["value"] == pytest.approx(frechet_distance(moments(real), moments(generated)))
    assert found["floor"]["value"] == pytest.approx(frechet_distance(moments(real), moments(other)))
    assert (found["n"], found["real_n"], found["identities"]) == (20, 30, 20)
    assert found["low"] < found["value"] < found["high"]
    influences = frechet_influences(moments(real), generated)
    assert (found["low"], found["high"]) == linear_interval(found["value"], influences, np.arange(20), 0)
    assert (found["floor"]["n"], found["floor"]["real_n"]) == (15, 30)
    assert found["floor"]["value"] < found["value"]
    kid = entry("kid", measured(range(20), *columns))
    assert (kid["subset_size"], kid["floor"]["subset_size"]) == (20, 15)
    assert kid["floor"]["value"] < kid["value"]
    assert kid["low"] < kid["value"] < kid["high"]
    assert kid["sd"] == pytest.approx(0, abs=1e-9) or kid["sd"] > 0


def test_the_floor_of_a_distance_is_of_as_many_images_as_the_value():
    """Of images as good as real ones the value is the floor, up to chance; of ten times as many it would be lower."""
    generated, real, other = features(0, 20), features(1, 200), features(2, 200)
    found = entry("fid", measured(range(20), *({"inception": each} for each in (generated, real, other))))
    assert (found["floor"]["n"], found["floor"]["real_n"]) == (20, 200)
    assert unequal_floors({"fid": found}) == []
    assert found["floor"]["value"] == pytest.approx(found["value"], rel=0.5)
    assert frechet_distance(moments(real), moments(other)) < found["floor"]["value"] / 3


def test_without_further_real_images_the_floor_is_of_halves():
    columns = [{"inception": features(0)}, {"inception": features(1, 31)}]
    found = entry("fid", measured(range(30), *columns, others=()))
    assert found["floor"]["of"] == "one half of the real images against the other"
    assert found["floor"]["n"] == 15
    kid = entry("kid", measured(range(30), *columns, others=()))
    assert unequal_floors({"ssim": {"n": 30}, "fid": found, "kid": kid}) == [
        "fid, kid: the value is of 30 images against 31 real ones, the floor of 15 images against 16 real ones; "
        "distances of other numbers do not quite compare"
    ]
    assert unequal_floors({"ssim": {"n": 30}}) == []


def test_fid_gfla_drops_the_last_partial_batch():
    generated, real = features(0, 70), features(1, 64)
    columns = [{"inception-torchvision": each} for each in (generated, real, real)]
    found = entry("fid_gfla", measured(range(70), *columns))
    assert found["identities"] == 64
    assert found["value"] == pytest.approx(frechet_distance(moments(real), moments(generated[:64])))


def test_fid_gfla_states_the_numbers_that_it_was_computed_of():
    generated, real, other = features(0, 70), features(1, 104), features(2, 90)
    kinds = ("inception", "inception-torchvision")
    columns = [dict.fromkeys(kinds, each) for each in (generated, real, other)]
    gfla, fid = (entry(name, measured(np.arange(70) // 2, *columns)) for name in ("fid_gfla", "fid"))
    assert (gfla["n"], gfla["real_n"], gfla["identities"]) == (64, 64, 32)
    assert (gfla["left_out"], gfla["real_left_out"]) == (6, 40)
    assert gfla["note"].startswith("of the first 64 of 70 images against the first 64 of 104 real ones")
    assert (gfla["floor"]["n"], gfla["floor"]["real_n"]) == (64, 64)
    chosen = np.sort(np.random.default_rng([0, 6]).permutation(90)[:64])
    assert gfla["floor"]["value"] == pytest.approx(frechet_distance(moments(real[:64]), moments(other[chosen])))
    assert (fid["n"], fid["real_n"], fid["floor"]["n"], fid["floor"]["real_n"]) == (70, 104, 70, 104)
    assert not {"left_out", "real_left_out", "note"} & fid.keys()
    assert unequal_floors({"fid": fid, "fid_gfla": gfla}) == []


def test_unequal_floors_are_told_for_each_metric():
    generated, real, other = features(0, 70), features(1, 104), features(2, 66)
    columns = [dict.fromkeys(("inception", "inception-torchvision"), each) for each in (generated, real, other)]
    entries = {name: entry(name, measured(range(70), *columns)) for name in ("fid", "fid_gfla", "kid")}
    (note,) = unequal_floors(entries)
    assert note.startswith("fid, kid: the value is of 70 images against 104 real ones, the floor of 66 images against")
    columns[2] = dict.fromkeys(("inception", "inception-torchvision"), other[:50])
    entries = {name: entry(name, measured(range(70), *columns)) for name in ("fid", "fid_gfla")}
    one, two = unequal_floors(entries)
    assert one.startswith("fid: the value is of 70 images against 104 real ones, the floor of 50")
    assert two.startswith("fid_gfla: the value is of 64 images against 64 real ones, the floor of 50 images against 64")


def test_identity_similarity_says_to_what_it_is_and_has_no_floor_of_another_kind():
    columns = {"identity_similarity": np.asarray([0.5, 0.7])}
    found = entry("identity_similarity", measured([1, 2], columns))
    assert (found["to"], found["protocol"]) == ("the true image", "cosine of re-ID features, to the true image")
    assert "note" not in found
    half = dataclasses.replace(compared([1, 2]), paired=np.asarray([True, False]))
    found = entry("identity_similarity", Measured(half, columns, {}, {}, None, 0))
    assert (found["to"], found["protocol"]) == ("the source", "cosine of re-ID features, to the source")
    assert "floor" not in found
    assert found["note"].startswith("to the source, because 1 of 2 images have no true one")


def test_few_identities_are_told_once():
    def notes(**counts):
        return few_people({name: {"identities": count} for name, count in counts.items()})

    assert notes(ssim=5, psnr=12) == []
    assert notes(ssim=4, psnr=4) == ["interval of 4 identities: too few to rely on"]
    assert notes(ssim=4, psnr=2, l1=3) == ["interval of 2 to 4 identities: too few to rely on"]
    assert notes(ssim=6, psnr=3) == ["psnr: interval of 3 identities: too few to rely on"]
    assert notes(ssim=1) == ["no interval of one identity: whole identities are resampled"]
    assert notes(ssim=2, psnr=1) == [
        "psnr: no interval of one identity: whole identities are resampled",
        "ssim: interval of 2 identities: too few to rely on",
    ]
    assert few_people({"ssim": {"images": 3}}) == ["interval of 3 images: too few to rely on"]


def test_too_few_images():
    one = {"inception": features(0, 1), LOGITS: features(0, 9)}
    for name, said in (("fid", "1 images have no"), ("kid", "1 images are too few"), ("inception_score", "9 images")):
        with pytest.raises(TooFew, match=said):
            entry(name, measured(range(1), one, {"inception": features(1)}, {"inception": features(2)}))


def test_inception_score_in_the_order_of_the_images():
    logits = features(0, 40) * np.linspace(0, 5, 40, dtype=np.float32)[:, None]
    found = entry("inception_score", measured(range(40), {LOGITS: logits}, other={LOGITS: logits[::2]}))
    value, sd = inception_score(logits)
    assert (found["value"], found["sd"], found["n"]) == (value, sd, 40)
    assert found["identities"] == 40
    assert found["low"] < value < found["high"]
    assert found["floor"] == {"value": inception_score(logits[::2])[0], "sd": inception_score(logits[::2])[1], "n": 20,
                              "of": "real images"}  # fmt: skip


def test_jpeg_is_in_the_protocol():
    assert entry("ssim", measured([1, 2], {"ssim": np.ones(2)}, saved="jpeg"))["protocol"] == "patn, saved as jpeg"


def test_poses_of_a_set_over_clusters_of_the_real_ones():
    split = posed([3, 3, 3, 7, 7, 9], [0, 1, 1, 2, 0, 0])
    points = {record.name: each for record, each in zip(split.records, split.points, strict=True)}
    rows = [1, 2, 3, 0]  # whose poses the set shows, of persons 3, 3, 7 and 7
    held = compared([3, 3, 7, 7], real=split.records, poses=split.points[rows])
    whole = Measured(held, {}, {}, {}, points, 0)
    labels = cluster_poses(split.points, 0).labels
    clusters = labels.max() + 1
    found = entry("pose_diversity", whole)
    assert found["value"] == pytest.approx(evenness(np.bincount(labels[rows], minlength=clusters)).item())
    assert found["floor"]["value"] == pytest.approx(evenness(np.bincount(labels, minlength=clusters)).item())
    assert (found["n"], found["identities"]) == (4, 2)
    found = entry("pose_coverage", whole)
    both = {3: [*labels[:3], *labels[[1, 2]]], 7: [*labels[3:5], *labels[[3, 0]]], 9: [labels[5]]}
    expected = np.mean([evenness(np.bincount(each, minlength=clusters)).item() for each in both.values()])
    assert found["value"] == pytest.approx(expected)
    assert found["identities"] == 3
