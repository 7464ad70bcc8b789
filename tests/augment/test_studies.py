"""Study files: found by path or name, imported with their neighbours, and what is said of those that are wrong."""

import sys

import pytest

from augment import studies
from augment.study import Study

ONE = 'Study("{title}", "?", (Arm("a"),), (Contrast("a", "a"),), data="")'
FILE = "from augment.study import Arm, Contrast, Study\n\nSTUDIES = {{'tiny': {}, 'large': {}}}\n".format(
    ONE.format(title="Tiny"), ONE.format(title="Large")
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    return tmp_path / "experiments"


def write(path, text=FILE):
    path.write_text(text)
    return path


def test_a_study_is_found_by_its_name_or_path(folder, tmp_path):
    write(folder / "first.py")
    assert studies.find("first").samefile(folder / "first.py")
    assert studies.find("experiments/first.py").samefile(folder / "first.py")
    assert studies.find(str(write(tmp_path / "mine.py"))) == tmp_path / "mine.py"


def test_an_unknown_name_lists_those_that_there_are(folder):
    for name in ("second", "first"):
        write(folder / f"{name}.py")
    write(folder / "a_script.py", "print()\n")
    with pytest.raises(
        ValueError, match=r"^STUDY frist: no such study; expected one of first, second; or give the path"
    ):
        studies.find("frist")
    with pytest.raises(ValueError, match=r"frist\.py: no such file; give a study's file or the name"):
        studies.find("frist.py")


def test_no_study_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"STUDY first: no such study; there is none in .*experiments"):
        studies.find("first")


def test_the_first_scale_is_the_default(folder):
    path = write(folder / "first.py")
    assert studies.choose(path, None)[0] == "tiny"
    name, study = studies.choose(path, "large")
    assert (name, study.title) == ("large", "Large")
    assert isinstance(study, Study)
    with pytest.raises(ValueError, match=r"^--scale huge: .*first\.py has tiny, large$"):
        studies.choose(path, "huge")


def test_a_study_in_a_package_finds_its_neighbours(tmp_path, monkeypatch):
    """From any working directory, and nothing is left on the path."""
    package = tmp_path / "checkout" / "trials_of_mine"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "sizes.py").write_text("SEEDS = 7\n")
    text = FILE.replace("\n\n", "\nfrom trials_of_mine.sizes import SEEDS\n\n", 1).replace(
        'data=""', 'seeds=SEEDS, data=""'
    )
    path = write(package / "first.py", text)
    monkeypatch.chdir("/")
    before = list(sys.path)
    assert studies.choose(path, None)[1].seeds == 7
    assert sys.path == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("STUDIES = {", "SyntaxError"),
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        (
            FILE.replace('Contrast("a", "a")', 'Contrast("b", "a")', 1),
            "ValueError: Tiny: compares b, of which there is no",
        ),
        ("STUDIES = {}", "holds no STUDIES"),
        ("STUDIES = {'tiny': 3}", "holds no STUDIES"),
        ("ARMS = 3", "holds no STUDIES"),
    ],
)
def test_a_broken_study_is_one_line_with_its_file(folder, text, words):
    path = write(folder / "first.py", text)
    with pytest.raises(ValueError, match=words) as error:
        studies.load(path)
    assert str(error.value).startswith(str(path))
