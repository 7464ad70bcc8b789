"""What the scores mean: each of them by hand, and how good their judges are."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from augment import cross_fitting, store
from augment.data.images import read_image
from augment.data.read import read_data
from augment.score_columns import find_sources
from augment.scoring import run, table
from reid.consistency import left_out_margin
from tests.judging import CONFIG, FEATURES, TRAINING, values, write
from tests.reference import prototypes as slow

COPY, BLURRED, WRONG = 0, 1, 2


def test_a_copy_is_no_distance_from_its_source_and_a_blurred_one_is_less_sharp(scored):
    assert (scored["source_l1"][:, COPY] == 0).all()
    assert np.abs(scored["source_distance"][:, COPY]).max() < 1e-5
    assert (scored["source_l1"][:, WRONG] > scored["source_l1"][:, BLURRED]).mean() > 0.9
    assert (scored["source_distance"][:, WRONG] > scored["source_distance"][:, BLURRED]).mean() > 0.9
    assert (scored["sharpness"][:, BLURRED] < 0.5 * scored["sharpness"][:, COPY]).all()


def test_people_resemble_their_own_prototypes_more_than_somebody_elses(scored):
    right, wrong = scored["identity_margin"][:, COPY], scored["identity_margin"][:, WRONG]
    assert np.mean(right > wrong) > 0.8
    assert right.mean() > wrong.mean() + 0.3
    assert np.mean(right > 0) > np.mean(wrong > 0) + 0.2
    assert scored["identity_similarity"][:, COPY].mean() > scored["identity_similarity"][:, WRONG].mean()


def test_pixel_distance_by_hand(base, data, scored):
    reader = store.Reader(base)
    named = {record.name: record.path for record in read_data(data).train}
    for row in (1, 50, len(reader) - 1):
        source = read_image(named[reader.source_name(row)]).astype(float)
        expected = np.abs(reader.image(row).astype(float) - source).mean() / 255
        assert scored["source_l1"].reshape(-1)[row] == pytest.approx(expected, rel=1e-5)


def test_each_identity_is_judged_by_the_network_that_has_not_seen_it(base, data, judges, scored):
    """The columns again, image by image and identity by identity."""
    reader, dataset = store.Reader(base), read_data(data)
    pair = cross_fitting.prepare(judges, dataset, TRAINING)
    for network in (0, 1):
        seen = {record.pid for record in pair.people(network)}
        judged = pair.people(1 - network)
        assert not seen & {record.pid for record in judged}
        model = pair.load(network, "cpu")

        def feature(pixels, model=model):
            return pair.features(model, Single(pixels), "cpu", 1)[0].astype(float)

        real = np.stack([feature(read_image(record.path)) for record in judged])
        pids = [record.pid for record in judged]
        rows = np.flatnonzero(np.isin(reader.pid, pids))
        for row in rows[:: len(rows) // 3].tolist():
            found = feature(reader.image(row))
            source = [record.name for record in judged].index(reader.source_name(row))
            similarity, margin = slow.without_source(found, reader.identity(row), real, pids, source)
            distance = 1 - float(slow.unit(found) @ slow.unit(real[source]))
            got = [scored[name].reshape(-1)[row] for name in FEATURES]
            np.testing.assert_allclose(got, [similarity, margin, distance], atol=1e-4)


def test_a_copy_is_judged_as_its_source_is_without_itself(base, data, judges, scored):
    reader, pair = store.Reader(base), cross_fitting.prepare(judges, read_data(data), TRAINING)
    for network in (0, 1):
        judged = pair.people(1 - network)
        source = cross_fitting.file_source(judged)
        features = pair.features(pair.load(network, "cpu"), source, "cpu", 8)
        left_out = left_out_margin(features, np.array([record.pid for record in judged]))
        margin = dict(zip([record.name for record in judged], left_out.tolist(), strict=True))
        copies = [row for row in range(COPY, len(reader), 3) if reader.source_name(row) in margin]
        expected = [margin[reader.source_name(row)] for row in copies]
        np.testing.assert_allclose(scored["identity_margin"].reshape(-1)[copies], expected, atol=1e-4)


def test_images_of_an_only_image_have_no_value_and_are_counted(data, tmp_path):
    few = tmp_path / "data"
    shutil.copytree(data, few)
    person = min(record.pid for record in read_data(few).train)
    for record in [record for record in read_data(few).train if record.pid == person][1:]:
        record.path.unlink()
    path, log = write(tmp_path / "x.h5", few), []
    config = replace(CONFIG, scores=FEATURES, training=replace(TRAINING, epochs=1))
    run(config, path, few, reid=tmp_path / "judges", device="cpu", log=log.append)
    alone = store.Reader(path).pid == person
    assert alone.sum() == 3
    for name in FEATURES:
        np.testing.assert_array_equal(np.isnan(values(path)[name]), alone & (name != "source_distance"), err_msg=name)
    assert "3 images without a value: their source is the only real image of its identity" in log


class Single:
    """One image as a source."""

    def __init__(self, pixels):
        self.pixels = pixels

    def __len__(self):
        return 1

    def image(self, index):
        return self.pixels

    def identity(self, index):
        return 0

    def camera(self, index):
        return 0


def test_the_test_of_the_judges_is_right_and_said(data, judges):
    lines, dataset = [], read_data(data)
    pair = cross_fitting.prepare(judges, dataset, TRAINING)
    results = cross_fitting.train(pair, dataset, device="cpu", log=lines.append)
    for network, (found, said) in enumerate(zip(results["networks"], lines, strict=True)):
        test, judged = found["held_out"], pair.people(1 - network)
        images = cross_fitting.file_source(judged)
        features = pair.features(pair.load(network, "cpu"), images, "cpu", 8)
        margins = slow.left_out_margin(features.astype(float), np.array([record.pid for record in judged]))
        assert test["images"] == len(judged)
        assert test["rank1"] == pytest.approx(np.mean(margins > 0), abs=1.5 / len(judged))
        assert test["margin"] == pytest.approx(margins.mean(), abs=1e-4)
        assert found["trained_on"]["identities"] == test["identities"] == 8
        assert f"{test['rank1']:.1%} are nearest to the right one (by chance 12.5%)" in said
    assert np.mean([network["held_out"]["rank1"] for network in results["networks"]]) > 0.2


@pytest.mark.parametrize(("rank1", "warned"), [(0.24, True), (0.25, False), (None, True)])
def test_judges_near_chance_are_warned_of_whenever_their_columns_are_asked_for(
    synthetic, data, judges, monkeypatch, rank1, warned
):
    train = cross_fitting.train

    def pretending(*arguments, **options):
        results = train(*arguments, **options)
        results["networks"][1]["held_out"]["rank1"] = rank1
        results["networks"][0]["held_out"]["rank1"] = 1.0
        return results

    monkeypatch.setattr(cross_fitting, "train", pretending)
    config = replace(CONFIG, scores=("identity_margin", "sharpness"))
    for _ in range(2):
        log = []
        run(config, synthetic, data, reid=judges, device="cpu", log=log.append)
        assert log[-1].startswith("warning: identity_margin: hardly better than chance") == warned, log
    assert log[-2 if warned else -1] == "already done"
    said = store.Reader(synthetic).scores
    assert said["identity_margin"].provenance["judges"] == [
        {"rank1": 1.0, "chance": 0.125}, {"rank1": rank1, "chance": 0.125}
    ]  # fmt: skip
    assert "judges" not in said["sharpness"].provenance


def test_sources_of_another_size_are_scaled(data, tmp_path):
    images = np.zeros((3 * len(read_data(data).train), 32, 16, 3), np.uint8)
    reader = store.Reader(write(tmp_path / "x.h5", data, images=images))
    sources = find_sources(reader, read_data(data))
    assert sources.pixels(range(4, 9), reader.size).shape == (5, 32, 16, 3)


def test_the_table():
    column = np.array([1, 2, 3, 4, np.nan], np.float32)
    lines = table({"sharpness": store.Score(column, {}), "zoo": store.Score(np.full(5, np.nan, np.float32), {})})
    rows = [line.split() for line in lines.splitlines()]
    assert rows[0] == ["score", "mean", "5", "%", "median", "95", "%", "NaN"]
    assert rows[1] == ["sharpness", "2.5", "1.15", "2.5", "3.85", "1"]
    assert rows[2] == ["zoo", "nan", "nan", "nan", "nan", "5"]
