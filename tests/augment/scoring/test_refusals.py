"""What cannot be scored, and what the command says to it."""

from dataclasses import replace

import numpy as np
import pytest

from augment import cross_fitting, store
from augment.data.images import read_image
from augment.data.read import read_data
from augment.scoring import NAMES, ScoreConfig, prepare, run
from tests.judging import CONFIG, FEATURES, PIXEL_SCORES, SIZE, TRAINING, values, write


def test_sets_that_cannot_be_scored(data, base, tmp_path):
    dataset = read_data(data)
    names = [record.name for record in sorted(dataset.train, key=lambda record: record.name)]
    test_name = dataset.gallery[0].name

    def refused(words, **changes):
        path = write(tmp_path / "refused.h5", data, **changes)
        with pytest.raises(ValueError, match=words):
            prepare(PIXEL_SCORES, path, data)

    refused("data_digest", data_digest="0" * 64)
    refused("poses are of query or gallery images", files=(test_name, *names[1:]))
    refused(r"of its sources are no training images .*elsewhere\.jpg", files=("elsewhere.jpg", *names[1:]))
    pids = np.repeat([record.pid for record in sorted(dataset.train, key=lambda record: record.name)], 3)
    refused(r"row 0 is labelled as identity \d+, but its source", pid=pids[::-1].copy())

    chosen = store.write_selection(tmp_path / "chosen.h5", store.Reader(base), np.array([0, 4]), {})
    with pytest.raises(ValueError, match=r"chosen\.h5: a selection; score the set that it is of, .*x\.h5"):
        prepare(PIXEL_SCORES, chosen, data)


def test_of_test_identities_all_but_identity_is_scored(data, tmp_path):
    dataset = read_data(data)
    records = sorted(dataset.train, key=lambda record: record.name)
    shown = next(record for record in dataset.query if record.pid > 0)
    names, pids = [record.name for record in records], np.repeat([record.pid for record in records], 3)
    pids[:3] = shown.pid
    path = write(tmp_path / "x.h5", data, files=(shown.name, *names[1:]), pid=pids, test_identities=True)
    log, ours = [], tmp_path / "judges"
    run(ScoreConfig(training=TRAINING), path, data, reid=ours, device="cpu", log=log.append)
    assert set(values(path)) == {"source_l1", "sharpness"}
    expected = np.abs(store.Reader(path).image(1).astype(float) - read_image(shown.path)).mean() / 255
    assert values(path)["source_l1"][1] == pytest.approx(expected, rel=1e-5)
    assert f"not computed: {', '.join(FEATURES)}: the set was made with --allow-test-identities" in "\n".join(log)
    assert not ours.exists(), "no judges are trained for nothing"
    for name in FEATURES:
        with pytest.raises(ValueError, match=f"--scores {name}: the set was made with --allow-test-identities"):
            prepare(replace(CONFIG, scores=("sharpness", name)), path, data, reid=ours)
    pids[0] = records[0].pid
    wrong = write(tmp_path / "wrong.h5", data, files=(shown.name, *names[1:]), pid=pids, test_identities=True)
    with pytest.raises(ValueError, match="row 0 is labelled as"):
        prepare(PIXEL_SCORES, wrong, data)
    strange = write(tmp_path / "strange.h5", data, files=("elsewhere.jpg", *names[1:]), test_identities=True)
    with pytest.raises(ValueError, match=r"are no images of .*elsewhere\.jpg"):
        prepare(PIXEL_SCORES, strange, data)


def test_scores_of_another_set_are_replaced_with_force_only(synthetic, data):
    run(PIXEL_SCORES, synthetic, data, device="cpu")
    before = store.scores_path(synthetic).read_bytes()
    images = np.full((len(store.Reader(synthetic)), *SIZE, 3), 90, np.uint8)
    other = write(synthetic.with_name("new.h5"), data, images=images)
    other.replace(synthetic)
    store.scores_path(synthetic).write_bytes(before)
    with pytest.raises(ValueError, match=r"x\.scores\.h5: scores of another set .*--force"):
        run(ScoreConfig(("sharpness",)), synthetic, data, device="cpu")
    assert store.scores_path(synthetic).read_bytes() == before
    str(prepare(PIXEL_SCORES, synthetic, data, force=True))
    assert store.scores_path(synthetic).read_bytes() == before
    run(ScoreConfig(("sharpness",)), synthetic, data, device="cpu", force=True)
    assert values(synthetic).keys() == {"sharpness"}
    assert (values(synthetic)["sharpness"] == 0).all()


def test_a_damaged_image_is_named(synthetic, data):
    content = bytearray(synthetic.read_bytes())
    pixels = store.Reader(synthetic).image(5).tobytes()
    content[content.index(pixels) + 100] ^= 255
    synthetic.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"x\.h5: image 5 is damaged"):
        run(PIXEL_SCORES, synthetic, data, device="cpu")


@pytest.mark.parametrize(
    ("scores", "given", "words"),
    [
        (("identity_margin",), {}, r"--scores identity_margin: needs judges .*--reid RUN"),
        (("discriminator",), {}, "--scores discriminator: needs the training run"),
        (("sharpness",), {"reid": "judges"}, "--reid: none of the scores asked for needs it"),
        (("sharpness",), {"pose_weights": "x"}, "--pose-weights: none of the scores asked for needs it"),
    ],
)
def test_what_a_score_needs_and_what_none_needs(base, data, tmp_path, scores, given, words):
    with pytest.raises(ValueError, match=words):
        prepare(ScoreConfig(scores), base, data, **{name: tmp_path / value for name, value in given.items()})
    with pytest.raises(ValueError, match="--scores beauty: expected some of identity_similarity"):
        ScoreConfig(("beauty",))


def test_folders_that_hold_no_such_pair_are_refused(data, judges, tmp_path):
    dataset = read_data(data)

    def refused(words, folder, training=TRAINING):
        with pytest.raises(ValueError, match=words):
            cross_fitting.prepare(folder, dataset, training)

    refused(r"epochs \(30 there, 9 here\); give its options", judges, replace(TRAINING, epochs=9))
    (tmp_path / "file").touch()
    refused("--reid .*file: is a file", tmp_path / "file")
    refused("--reid .*: holds other files; give a new folder", tmp_path)
    (tmp_path / "config.json").write_text('{"stage": "train-reid", "config": {}}')
    refused("is a train-reid run, whose network has seen the identities that it would judge", tmp_path)
    few = replace(dataset, train=tuple(record for record in dataset.train if record.pid < 7))
    with pytest.raises(ValueError, match="3 training identities"):
        cross_fitting.prepare(tmp_path / "new", few, TRAINING)


def test_exchanged_networks_are_noticed(data, judges, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for path in judges.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    one, other = folder / "fold-0.safetensors", folder / "fold-1.safetensors"
    one.write_bytes(other.read_bytes())
    dataset = read_data(data)
    with pytest.raises(ValueError, match=r"fold-0\.safetensors: not the network that was trained here"):
        cross_fitting.train(cross_fitting.prepare(folder, dataset, TRAINING), dataset, device="cpu")


def test_the_command(augment, synthetic, data, judges):
    from augment.commands import score

    assert score.NAMES == NAMES
    outcome = augment("score", synthetic, data, "--device", "cpu")
    assert outcome.code == 0, outcome
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["score", "source_l1", "sharpness"]
    assert "not computed: identity_similarity, identity_margin, source_distance: needs judges" in outcome.err
    outcome = augment("score", synthetic, data, "--dry-run", "--reid", synthetic.parent / "new")
    assert outcome.code == 0, outcome
    assert "16 identities: identity_similarity, identity_margin" in outcome.out
    assert not (synthetic.parent / "new").exists()
    for arguments, words in (
        (("--scores", "identity_margin"), "Error: --scores identity_margin: needs judges"),
        (("--epochs", "3"), "--epochs: given without --reid RUN"),
        (("--scores", "beauty"), "beauty"),
        (("--reid", judges), "batch (8 there, 32 here)"),
        (("--reid", synthetic.parent / "new", "--init", "nothing.pth"), "init nothing.pth: no such file"),
    ):
        outcome = augment("score", synthetic, data, *arguments)
        assert outcome.code == 2
        assert words in outcome.err
        assert len(outcome.err.splitlines()) == 1, outcome.err
