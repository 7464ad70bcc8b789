"""Shapes in annotations are checked while the tests run; one thread, because small tensors on many are slower."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from jaxtyping import install_import_hook

install_import_hook(
    [
        "generators",
        "reid",
        "augment.data",
        "augment.planning",
        "augment.policies",
        "augment.coverage",
        "augment.sources",
        "augment.posefile",
        "augment.score_columns",
        "augment.agreement",
        "augment.cross_fitting",
        "augment.pose_estimation",
        "augment.expressions",
        "augment.filtering",
        "augment.importing",
        "augment.image_table",
        "augment.merging",
        "augment.replacing",
        "augment.comparison",
        "augment.report_learning",
        "augment.report_plots",
        "augment.report_poses",
        "augment.report_galleries",
        "augment.searched",
        "augment.ranked_sheet",
        "augment.evaluation_table",
        "augment.evaluate_reid",
        "augment.evaluated_network",
        "augment.store.features",
        "augment.backbones",
        "augment.rtmpose",
        "augment.poses",
        "augment.coco",
        "augment.image_metrics",
        "augment.image_pairs",
        "augment.image_entries",
        "augment.image_saving",
        "augment.image_folders",
        "augment.image_measuring",
        "augment.image_subjects",
        "augment.image_passes",
        "augment.image_sheet",
        "augment.intervals",
    ],
    "beartype.beartype",
)

import cv2
import pytest
import torch

torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(scope="session")
def pedestrians(tmp_path_factory: pytest.TempPathFactory):
    """A small procedural data set: 6 training and 4 test identities."""
    from augment.data.pedestrians import PedestriansConfig, make_data

    config = PedestriansConfig(identities=6, test_identities=4, cameras=3, per_camera=3, seed=3)
    return make_data(config, tmp_path_factory.mktemp("pedestrians") / "data")
