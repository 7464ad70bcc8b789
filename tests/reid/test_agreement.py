"""torchreid's own test of its own checkpoint and ours find the same, from the images to the scores."""

import numpy as np
import pytest
import torch
from PIL import Image

from augment.data.pedestrians import PedestriansConfig, make_data
from augment.evaluate_reid import EvaluateReidConfig
from experiments import torchreid_agreement as agreement
from reid.dataset import normalised, resized
from reid.metrics import evaluate
from reid.torchreid_api import numpy_globals, torchreid

MODEL, SIZE = "osnet_x0_25", (64, 32)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """torchreid's evaluator needs some 60 images in the gallery."""
    config = PedestriansConfig(identities=8, test_identities=14, cameras=3, per_camera=3, seed=7)
    return make_data(config, tmp_path_factory.mktemp("pedestrians") / "data")


@pytest.fixture(scope="module")
def manager(data, tmp_path_factory):
    return agreement.manage(data, tmp_path_factory.mktemp("torchreid"), *SIZE, batch=16)


@pytest.fixture(scope="module")
def checkpoint(manager, tmp_path_factory):
    """Trained and saved by torchreid's engine."""
    return agreement.train(manager, MODEL, tmp_path_factory.mktemp("log"), epochs=1)


@pytest.fixture(scope="module")
def engine(manager, checkpoint):
    return agreement.test_engine(manager, agreement.load(manager, MODEL, checkpoint))


def config_of(metric, reranked):
    return EvaluateReidConfig(metric, rerank=reranked, model=MODEL, height=SIZE[0], width=SIZE[1])


@pytest.mark.parametrize(("metric", "reranked"), agreement.WAYS)
def test_the_scores_are_torchreids(engine, data, checkpoint, metric, reranked):
    found = agreement.compare(engine, config_of(metric, reranked), data, checkpoint)
    theirs = found.pop("torchreid")
    assert np.isfinite(theirs.ap).sum() > 20
    for ours in found.values():
        # Rounding may exchange two neighbours in one ranking, on another machine than where this was written
        assert ours.mAP == pytest.approx(theirs.mAP, abs=2e-3)
        assert ours.cmc == pytest.approx(theirs.cmc, abs=0.05)
        assert (agreement.differences(ours, theirs) > 1e-6).sum() <= 2


def test_a_query_without_a_match_in_one_of_them_is_no_agreement():
    def scores(*ap):
        return agreement.Scores(0.5, (1.0, 1.0, 1.0), np.array(ap))

    found = agreement.differences(scores(0.5, np.nan, 1.0), scores(0.25, np.nan, 1.0))
    np.testing.assert_array_equal(found, [0.25, 0.0])
    for ours, theirs in ((scores(0.5, np.nan), scores(0.5, 0.5)), (scores(0.5, 0.5), scores(np.nan, 0.5))):
        with pytest.raises(ValueError, match="1 queries have a match in one evaluation alone"):
            agreement.differences(ours, theirs)
        with pytest.raises(ValueError, match="one evaluation alone"):
            agreement.print_rows("file | metric", {"torchreid": theirs, "ours": ours})
    with pytest.raises(ValueError, match="0 of 1 in ours"):
        agreement.differences(scores(np.nan), scores(np.nan))


@pytest.mark.parametrize(("metric", "reranked"), agreement.WAYS)
def test_the_same_distances_give_the_same_scores(engine, metric, reranked):
    tested = agreement.test(engine, metric, reranked)
    found = evaluate(tested.distances, *tested.labels)
    assert found.mAP == pytest.approx(tested.scores.mAP, abs=1e-12)
    assert [found.cmc[rank - 1] for rank in agreement.RANKS] == pytest.approx(tested.scores.cmc, abs=1e-7)
    np.testing.assert_allclose(found.ap[tested.order], tested.scores.ap, rtol=0, atol=1e-12)


def test_data_parallel_checkpoints_score_the_same(manager, data, checkpoint, tmp_path):
    parallel = agreement.save_parallel(agreement.load(manager, MODEL, checkpoint), tmp_path)
    with torch.serialization.safe_globals(numpy_globals()):
        state = torch.load(parallel, weights_only=True)["state_dict"]
    assert all(key.startswith("module.") for key in state)
    found = [agreement.evaluate_file(config_of("euclidean", False), data, path) for path in (checkpoint, parallel)]
    assert (found[0].mAP, found[0].cmc) == (found[1].mAP, found[1].cmc)
    np.testing.assert_array_equal(found[0].ap, found[1].ap)


@pytest.mark.parametrize("size", [(128, 64), (64, 32), (256, 128), (97, 41)])
def test_the_network_is_shown_what_torchreid_shows_it(size):
    pixels = np.random.default_rng(0).integers(0, 256, (128, 64, 3), dtype=np.uint8)
    _, transform = torchreid().data.transforms.build_transforms(*size)
    theirs, ours = transform(Image.fromarray(pixels)), normalised(resized(pixels, *size))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
