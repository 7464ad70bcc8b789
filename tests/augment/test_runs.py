"""Run folders: go on with the same configuration, refuse every other one, delete nothing that is somebody's."""

import pytest

from augment import files
from augment.runs import open_run, versions

CONFIG = {"seed": 0, "batch": 8, "init": None}


@pytest.fixture
def run(tmp_path):
    """A run that has got somewhere."""
    begun = open_run(tmp_path / "run", "train-reid", CONFIG)
    (begun.folder / "epochs.csv").write_text("epoch\n")
    return begun


def test_the_same_configuration_goes_on(run):
    (run.folder / "checkpoint.safetensors").write_bytes(b"state")
    saved = (run.folder / "config.json").read_bytes()
    again = open_run(run.folder, "train-reid", dict(CONFIG))
    assert again == run
    assert not again.finished
    assert (run.folder / "config.json").read_bytes() == saved
    assert (run.folder / "checkpoint.safetensors").read_bytes() == b"state"


def test_results_finish_a_run(run):
    run.finish({"mAP": 0.5})
    again = open_run(run.folder, "train-reid", CONFIG)
    assert again.finished
    assert again.results == {"mAP": 0.5}


def test_the_header_records_stage_configuration_and_versions(run):
    saved = files.read_json(run.folder / "config.json")
    assert (saved["stage"], saved["config"], saved["versions"]) == ("train-reid", CONFIG, versions())


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (CONFIG | {"batch": 16}, r"batch \(8 there, 16 asked\)"),
        (CONFIG | {"erase": 0.5}, r"erase \(None there, 0\.5 asked\)"),
        ({"seed": 0, "init": None}, r"batch \(8 there, None asked\)"),
    ],
)
def test_another_configuration_is_refused_naming_the_keys_that_differ(run, config, named):
    with pytest.raises(ValueError, match=named) as caught:
        open_run(run.folder, "train-reid", config)
    assert "seed" not in str(caught.value)


def test_a_run_that_failed_before_it_made_anything_binds_nobody(tmp_path):
    open_run(tmp_path, "train-reid", CONFIG)
    open_run(tmp_path, "train-reid", CONFIG | {"batch": 16})
    assert files.read_json(tmp_path / "config.json")["config"]["batch"] == 16


def test_curves_alone_bind_nobody(tmp_path):
    open_run(tmp_path, "train-reid", CONFIG)
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "events").touch()
    open_run(tmp_path, "train-reid", CONFIG | {"batch": 16})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json"]
    assert files.read_json(tmp_path / "config.json")["config"]["batch"] == 16


def test_a_folder_of_that_name_that_the_stage_does_not_make_is_somebodys(tmp_path):
    open_run(tmp_path, "import-checkpoint", CONFIG)
    (tmp_path / "tensorboard").mkdir()
    with pytest.raises(ValueError, match=r"batch \(8 there, 16 asked\)"):
        open_run(tmp_path, "import-checkpoint", CONFIG | {"batch": 16})
    assert (tmp_path / "tensorboard").exists()


def test_another_stage_is_refused_even_with_force(run):
    for force in (False, True):
        with pytest.raises(ValueError, match="is a train-reid run, not demo"):
            open_run(run.folder, "demo", CONFIG, force=force)
    assert (run.folder / "config.json").exists()


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_somebodys_files_is_refused_and_left_alone(tmp_path, force):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds files but no config\.json"):
        open_run(tmp_path, "demo", CONFIG, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("text", ['{"model_type": "bert"}', "[1]", '{"stage": "demo"}'])
def test_a_config_json_of_another_program_is_refused_and_left_alone(tmp_path, text, force):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.bin").touch()
    with pytest.raises(ValueError, match=r"config\.json of something else"):
        open_run(tmp_path, "demo", CONFIG, force=force)
    assert (tmp_path / "config.json").read_text() == text
    assert (tmp_path / "model.bin").exists()


def test_a_file_is_refused(tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(ValueError, match="is a file; choose a folder"):
        open_run(tmp_path / "run", "demo", CONFIG)


def test_force_starts_afresh_and_keeps_what_the_stage_did_not_make(run):
    (run.folder / "checkpoint.safetensors").touch()
    (run.folder / "notes.txt").write_text("seed 3 was odd")
    (run.folder / "plots").mkdir()
    run.finish({})
    again = open_run(run.folder, "train-reid", CONFIG | {"batch": 16}, force=True)
    assert not again.finished
    assert sorted(path.name for path in run.folder.iterdir()) == ["config.json", "notes.txt", "plots"]
    assert files.read_json(run.folder / "config.json")["config"]["batch"] == 16


def test_force_in_a_fresh_place_is_no_error(tmp_path):
    assert not open_run(tmp_path / "run", "demo", CONFIG, force=True).finished
    (tmp_path / "empty").mkdir()
    assert not open_run(tmp_path / "empty", "demo", CONFIG, force=True).finished
