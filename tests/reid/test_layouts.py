"""torchreid whole: what it imports is declared, all its models give features, and files of theirs come back."""

import ast
import configparser
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from reid.torchreid_api import FIXED_SIZES, build_model, load_weights, model_names, torchreid

SETUP = Path(__file__).parents[2] / "setup.cfg"

# Modules outside the standard library that torchreid only imports within functions that are never called here:
# downloads, and data sets that it reads itself.
UNUSED = {"six", "imageio"}


def imported_by(path):
    """Top-level names of the packages, wherever in the file they are imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            modules = [str(node.module)]
        for module in modules:
            yield "tensorboard" if module == "torch.utils.tensorboard" else module.split(".")[0]


def plain(requirement):
    return re.split(r"[^\w.-]", requirement)[0].lower()


def test_every_package_that_torchreid_imports_is_declared():
    assert torchreid().__name__ == "torchreid"
    loaded = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == "torchreid"]
    files = [Path(module.__file__) for module in loaded if module.__file__]
    needed = {name for path in files for name in imported_by(path)} - {"torchreid"} - sys.stdlib_module_names
    assert {"torch", "numpy", "cv2", "gdown", "scipy", "tensorboard"} <= needed
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    declared = {plain(line) for line in setup["options"]["install_requires"].splitlines() if line.strip("# ")}
    offers = metadata.packages_distributions()
    undeclared = {name for name in needed - UNUSED if not declared & {plain(one) for one in offers.get(name, [])}}
    assert not undeclared


def features(model, name):
    height, width = FIXED_SIZES.get(name, (256, 128))
    images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        return model.eval()(images)


def comes_back(name, folder):
    """Saved with the names that DataParallel gives, loaded into the same model for other identities."""
    torch.manual_seed(0)
    model = build_model(name, 5)
    torch.save({"state_dict": torch.nn.DataParallel(model).state_dict(), "epoch": 1}, folder / "model.pth.tar-1")
    again = build_model(name, 1)
    load_weights(again, folder / "model.pth.tar-1")
    found = features(again, name)
    assert found.ndim == 2
    assert found.isfinite().all()
    assert torch.equal(found, features(model, name))


WARNINGS = pytest.mark.filterwarnings("ignore:.*upsample.* is deprecated", "ignore:Default grid_sample")


@WARNINGS
@pytest.mark.parametrize("name", ["hacnn", "mobilenetv2_x1_0", "osnet_ain_x0_25", "shufflenet_v2_x0_5"])
def test_common_models_come_back_from_files(name, tmp_path):
    comes_back(name, tmp_path)


@pytest.mark.slow
@WARNINGS
@pytest.mark.parametrize("name", model_names())
def test_every_model_comes_back_from_files(name, tmp_path):
    comes_back(name, tmp_path)


def test_a_head_that_is_absent_or_too_many_is_refused_unless_it_will_learn(tmp_path):
    """One of these has the layers of the other, and a head; so have resnet50 and resnet50_fc512."""
    for held, wanted, message in (
        ("squeezenet1_0", "squeezenet1_0_fc512", r"missing or of another shape are fc\.0\.weight"),
        (
            "squeezenet1_0_fc512",
            "squeezenet1_0",
            r"holds tensors that this model lacks, fc\.0\.weight, .* \(6 in all\)",
        ),
    ):
        path = tmp_path / f"{held}.pth"
        torch.save(build_model(held, 3).state_dict(), path)
        model = build_model(wanted, 4)
        with pytest.raises(ValueError, match=message):
            load_weights(model, path)
        load_weights(model, path, to_train=True)
        assert torch.equal(model.features[0].weight, torch.load(path, weights_only=True)["features.0.weight"])


def test_the_classifier_of_imagenet_files_is_passed_over(tmp_path):
    model = build_model("resnet18", 4)
    body = {key: value for key, value in model.state_dict().items() if not key.startswith("classifier")}
    torch.save(body | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "imagenet.pth")
    again = build_model("resnet18", 4)
    load_weights(again, tmp_path / "imagenet.pth")
    assert torch.equal(again.layer4[0].conv1.weight, model.layer4[0].conv1.weight)
