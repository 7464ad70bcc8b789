"""Evaluating a checkpoint: the scores that its training reported, other ways of ranking, foreign weights, a sheet."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from augment import evaluate_reid, files, ranked_sheet, train_reid
from augment.data.read import read_data
from augment.evaluate_reid import BOTH, NFC, PLAIN, RERANKED, EvaluateReidConfig, run
from augment.evaluation_table import table
from augment.train_reid import TrainReidConfig
from reid import checkpoint, torchreid_api
from reid.metrics import evaluate_features
from reid.training import ReidConfig
from tests.command_line import caller

TRAINING = ReidConfig(model="osnet_x0_25", height=32, width=16, epochs=1, batch=8)


@pytest.fixture(scope="module")
def trained(pedestrians, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "real"
    train_reid.run(TrainReidConfig(TRAINING), pedestrians, out, device="cpu")
    return out


def test_it_finds_what_the_training_reported(trained, pedestrians, tmp_path):
    found = run(EvaluateReidConfig(), pedestrians, trained, device="cpu", out=tmp_path / "found.json")
    reported = files.read_json(trained / "results.json")
    for name in ("mAP", "cmc", "mINP"):
        assert found["columns"][PLAIN][name] == reported[name]
    assert found["per_query"][PLAIN]["ap"] == reported["per_query"]["ap"]
    assert (found["num_query"], found["num_gallery"]) == (reported["num_query"], reported["num_gallery"])
    assert files.read_json(tmp_path / "found.json") == json.loads(json.dumps(found))
    weights = trained / "checkpoint.safetensors"
    again = run(EvaluateReidConfig(), pedestrians, weights, device="cpu", complete=True, workers=1)
    assert again == found


def test_a_run_is_ranked_by_its_own_metric(trained, pedestrians, tmp_path):
    cosine = tmp_path / "cosine"
    shutil.copytree(trained, cosine)
    saved = files.read_json(cosine / "config.json")
    files.write_json(cosine / "config.json", saved | {"config": saved["config"] | {"metric": "cosine"}})
    found = run(EvaluateReidConfig(), pedestrians, cosine, device="cpu", features=tmp_path / "f.npz")
    with np.load(tmp_path / "f.npz", allow_pickle=False) as stored:
        labels = [stored[f"{split}_{what}"] for what in ("pids", "camids") for split in ("query", "gallery")]
        by_cosine = evaluate_features(stored["query"], stored["gallery"], *labels, "cosine")
    assert found["columns"][PLAIN]["mAP"] == by_cosine.mAP
    assert table(found).startswith("ranked by cosine distance ")
    assert found["config"]["metric"] == "cosine"
    given = run(EvaluateReidConfig("euclidean"), pedestrians, cosine, device="cpu")
    assert given["config"]["metric"] == "euclidean"
    log = []
    (cosine / "config.json").unlink()
    bare = run(EvaluateReidConfig(), pedestrians, cosine, device="cpu", log=log.append)
    assert log == [f"{cosine}: does not say how it ranked; ranked by euclidean distance"]
    assert bare["columns"] == given["columns"]
    assert table(bare).startswith("ranked by euclidean distance ")


def test_an_unfinished_run_is_said_to_be_one(trained, pedestrians, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    weights = tmp_path / "run" / "checkpoint.safetensors"
    saved = checkpoint.from_bytes(weights.read_bytes())
    header = saved.header | {"config": saved.header["config"] | {"epochs": 40}}
    weights.write_bytes(safetensors.torch.save(saved.tensors, {checkpoint.HEADER: json.dumps(header)}))
    log = []
    found = run(EvaluateReidConfig(), pedestrians, weights, device="cpu", log=log.append)
    note = "after epoch 1 of 40: not the end of the training"
    assert f"{weights}: {note}" in log
    assert found["notes"] == [note]
    assert note in table(found).splitlines()
    provenance = found["provenance"]
    assert (provenance["epoch"], provenance["epochs"]) == (1, 40)
    assert provenance["data_digest"] == read_data(pedestrians).digest
    assert provenance["checkpoint_sha256"] == files.sha256(weights)
    assert [found["config"][name] for name in ("model", "height", "width")] == ["osnet_x0_25", 32, 16]


def test_no_file_is_written_over_another(trained, pedestrians, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate_reid, "read_data", lambda path: pytest.fail("it was too late"))
    with pytest.raises(ValueError, match=r"--out .*f\.h5: ends with '\.h5'; name it \.json"):
        run(EvaluateReidConfig(), pedestrians, trained, out=tmp_path / "f.h5", features=tmp_path / "f.h5")
    held = tmp_path / "set.h5"
    with pytest.raises(ValueError, match=r"--features .*set\.h5: is read too; give it another name"):
        run(EvaluateReidConfig(), pedestrians, trained, features=tmp_path / "." / "set.h5", synthetic=[held])
    for name in ("results.json", "config.json"):
        with pytest.raises(ValueError, match=rf"--out .*{name}: is read too"):
            run(EvaluateReidConfig(), pedestrians, trained, out=trained / name)
    (tmp_path / "same.h5").symlink_to(tmp_path / "found.json")
    with pytest.raises(ValueError, match=r"--features .*same\.h5: is written by --out too; give it another name"):
        run(EvaluateReidConfig(), pedestrians, trained, out=tmp_path / "found.json", features=tmp_path / "same.h5")


def test_the_other_ways_of_ranking_are_columns_beside_it(trained, pedestrians, tmp_path):
    plain = run(EvaluateReidConfig("cosine"), pedestrians, trained, device="cpu")
    found = run(
        EvaluateReidConfig("cosine", rerank=True, nfc=True),
        pedestrians,
        trained,
        device="cpu",
        features=tmp_path / "f.npz",
    )
    assert list(found["columns"]) == [PLAIN, NFC, RERANKED, BOTH]
    assert found["columns"][PLAIN] == plain["columns"][PLAIN]
    assert len({column["mAP"] for column in found["columns"].values()}) > 1
    with np.load(tmp_path / "f.npz", allow_pickle=False) as stored:
        labels = [stored[f"{split}_{what}"] for what in ("pids", "camids") for split in ("query", "gallery")]
        again = evaluate_features(stored["query"], stored["gallery"], *labels, "cosine")
        dataset = read_data(pedestrians)
        assert stored["gallery_names"].tolist() == [record.name for record in dataset.gallery]
    assert again.mAP == plain["columns"][PLAIN]["mAP"]
    assert set(found["by_query_camera"]) == {str(record.camid) for record in dataset.query}


def test_weights_of_torchreid_need_a_name(pedestrians, tmp_path):
    torch.manual_seed(0)
    model = torchreid_api.build_model("osnet_x0_25", 5)
    path = tmp_path / "model.pth.tar"
    torch.save({"state_dict": model.state_dict(), "epoch": 1}, path)
    with pytest.raises(ValueError, match=r"model\.pth\.tar: which network is it of\? Add --model"):
        run(EvaluateReidConfig(), pedestrians, path, device="cpu")
    found = run(EvaluateReidConfig(model="osnet_x0_25", height=32, width=16), pedestrians, path, device="cpu")
    assert 0 < found["columns"][PLAIN]["mAP"] <= 1


def test_mistakes(trained, pedestrians, tmp_path):
    with pytest.raises(ValueError, match="knows its model and size"):
        run(EvaluateReidConfig(model="osnet_x0_25"), pedestrians, trained, device="cpu")
    with pytest.raises(ValueError, match=r"--checkpoint .*nothing.*: no such file"):
        run(EvaluateReidConfig(), pedestrians, tmp_path / "nothing", device="cpu")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(ValueError, match=r"--checkpoint .*text\.safetensors: not a checkpoint"):
        run(EvaluateReidConfig(), pedestrians, tmp_path / "text.safetensors", device="cpu")
    with pytest.raises(ValueError, match="metric"):
        EvaluateReidConfig("manhattan")
    with pytest.raises(ValueError, match=r"--features .*f\.csv: ends with '\.csv'; name it \.h5 \(HDF5\) or \.npz"):
        run(EvaluateReidConfig(), pedestrians, trained, device="cpu", features=tmp_path / "f.csv")
    with pytest.raises(ValueError, match=r"--sheet .*sheet: ends with ''; name it \.png"):
        run(EvaluateReidConfig(), pedestrians, trained, device="cpu", sheet=tmp_path / "sheet")


def test_data_with_nothing_to_search_are_refused_at_once(trained, pedestrians, tmp_path):
    dataset = read_data(pedestrians)
    manifest = write_manifest(tmp_path / "train.csv", {"train": dataset.train})
    with pytest.raises(ValueError, match=r"train\.csv: has 0 queries and 0 gallery images"):
        run(EvaluateReidConfig(), manifest, trained, device="cpu")
    alone = {"train": dataset.train, "query": dataset.query[:3], "gallery": dataset.gallery}
    alone["query"] = [replace(record, pid=10**6) for record in alone["query"]]
    manifest = write_manifest(tmp_path / "alone.csv", alone)
    with pytest.raises(ValueError, match=r"none of its 3 queries has an image .* `augment check .*alone\.csv`"):
        run(EvaluateReidConfig(), manifest, trained, device="cpu")


def test_the_order_of_a_manifest_changes_no_score(trained, pedestrians, tmp_path):
    dataset = read_data(pedestrians)
    rng = np.random.default_rng(0)
    splits = {"train": dataset.train, "query": dataset.query, "gallery": dataset.gallery}
    shuffled = {split: [records[i] for i in rng.permutation(len(records))] for split, records in splits.items()}
    manifest = write_manifest(tmp_path / "shuffled.csv", shuffled)
    sorted_, found = (run(EvaluateReidConfig(), data, trained, device="cpu") for data in (pedestrians, manifest))
    assert found["columns"][PLAIN]["cmc"] == sorted_["columns"][PLAIN]["cmc"]
    assert found["columns"][PLAIN]["mAP"] == pytest.approx(sorted_["columns"][PLAIN]["mAP"])
    assert found["queries"]["name"] == [record.name for record in shuffled["query"]]
    by_name = [
        dict(zip(results["queries"]["name"], results["per_query"][PLAIN]["ap"], strict=True))
        for results in (sorted_, found)
    ]
    assert by_name[0] == by_name[1]


def write_manifest(path, splits):
    lines = [f"{r.path},{r.pid},{split},{r.camid}" for split, records in splits.items() for r in records]
    path.write_text("\n".join(["path,pid,split,camid", *lines]) + "\n", encoding="utf-8")
    return path


def test_without_cameras_no_gallery_image_is_left_out(trained, pedestrians, monkeypatch):
    dataset = read_data(pedestrians)
    query, gallery = ([replace(record, camid=-1) for record in split] for split in (dataset.query, dataset.gallery))
    blind = replace(dataset, query=(*query,), gallery=(*gallery,), has_cameras=False, test_notes=("no cameras",))
    monkeypatch.setattr(evaluate_reid, "read_data", lambda path: blind)
    log = []
    found = run(EvaluateReidConfig(), pedestrians, trained, device="cpu", log=log.append, complete=True)
    assert log == ["no cameras"]
    assert found["by_query_camera"] is found["by_camera_pair"] is None
    assert found["notes"] == ["no cameras"]
    assert table(found).splitlines()[-1] == "no cameras"
    assert None not in found["per_query"][PLAIN]["ap"]


def test_the_sheet_frames_hits_in_green_and_others_in_red(trained, pedestrians, tmp_path):
    run(EvaluateReidConfig(), pedestrians, trained, device="cpu", sheet=tmp_path / "sheet.png", sheet_queries=4)
    with Image.open(tmp_path / "sheet.png") as sheet:
        colours = {colour for _, colour in sheet.convert("RGB").getcolors(2**24)}
    assert {ranked_sheet.RIGHT, ranked_sheet.WRONG} <= colours
    assert ranked_sheet.SYNTHETIC not in colours


def test_the_command(trained, pedestrians, monkeypatch, capsys):
    augment = caller(monkeypatch, capsys)
    outcome = augment("evaluate-reid", pedestrians, "--checkpoint", trained, "--device", "cpu", "--nfc")
    assert outcome.code == 0, outcome.err
    assert [line.split("  ")[0] for line in outcome.out.splitlines()[1:3]] == [PLAIN, NFC]
    assert outcome.out.startswith("ranked by euclidean distance ")
    outcome = augment("evaluate-reid", pedestrians, "--checkpoint", trained, "--device", "cpu", "--json")
    found = json.loads(outcome.out)
    assert found["schema"] == 1
    assert found["by_camera_pair"]
    assert augment("evaluate-reid", pedestrians, "--checkpoint", trained, "--model", "resnet50").code == 2
