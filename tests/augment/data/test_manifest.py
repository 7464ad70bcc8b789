"""CSV manifests: any other data set."""

import pytest

from augment.data.manifest import read_manifest, survey
from augment.data.read import read_data
from augment.data.records import UNKNOWN_CAMERA

HEADER = "path,pid,camid,split\n"


@pytest.fixture
def manifest(tmp_path):
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / name).touch()

    def write(text, **options):
        (tmp_path / "manifest.csv").write_text(text, **options)
        return tmp_path / "manifest.csv"

    return write


def test_splits_in_their_order(manifest):
    rows = "images/b.png,7,2,train\nimages/a.png,7,,train\nimages/c.png,9,1,query\nimages/d.png,-1,1,gallery\n"
    found = read_data(manifest(HEADER + rows))
    assert [(record.name, record.pid, record.camid) for record in found.train] == [("b.png", 7, 2), ("a.png", 7, -1)]
    assert [record.name for record in found.query] == ["c.png"]
    assert found.gallery == (), "junk is left out"


def test_further_columns_and_another_order_of_them(manifest):
    found = read_manifest(manifest("note,split,camid,pid,path\nhi, train ,3,5,images/a.png\n"))
    assert [(record.pid, record.camid) for record in found.train] == [(5, 3)]


def test_annotations_beside_it(manifest, tmp_path):
    (tmp_path / "market-annotation-train.csv").touch()
    found = read_manifest(manifest(HEADER + "images/a.png,1,1,train\n"))
    assert found.annotations == (tmp_path / "market-annotation-train.csv",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "path,camid,split\n",
            r"no column pid in its first line \(path,camid,split\); the header must be path,pid,split,cam",
        ),
        ("", "no column path, pid, split"),
        ("path;pid;camid;split\n", r"no column path, pid, split in its first line \(path;pid;camid;split\)"),
        ("path,pid,Camera,split\n", "no column camid, but 'Camera': name it camid, or rename it"),
        ("path,pid,cam_id,split\n", "no column camid, but 'cam_id'"),
        (HEADER, "lists no image with split 'train'"),
        (HEADER + "images/a.png,1,1,test\n", r"line 2: split 'test'; expected one of train, query, gallery"),
        (HEADER + "images/a.png,1,1\n", "line 2: split ''"),
        (HEADER + "images/a.png,1,1,train\nimages/z.png,1,1,train\n", r"line 3: no file .*z\.png; paths are relative"),
        (HEADER + "images,1,1,train\n", "line 2: no file"),
        (HEADER + "images/a.png,one,1,train\n", "line 2: pid 'one' is no integer"),
        (HEADER + "images/a.png,,1,train\n", "line 2: pid '' is no integer"),
        (HEADER + "images/a.png,1,c1,train\n", "line 2: camid 'c1' is no integer"),
        (HEADER + "images/a.png,-2,1,train\n", "line 2: pid -2 is not from -1 to"),
        (HEADER + "images/a.png,1,-2,train\n", "line 2: camid -2 is not from -1 to"),
        (HEADER + f"images/a.png,{10**16},1,train\n", f"line 2: pid {10**16} is not from -1 to {10**15}"),
        (HEADER + "images/a.png,0,1,train\n", r"1 train images of identity 0 \(a\.png\), which means a distractor"),
        (HEADER + "images/a.png,1,1,train\nimages/b.png,0,1,query\n", "1 query images of identity 0"),
        (HEADER + '"' + "x" * 200_000 + '",1,1,train\n', "field larger than field limit"),
    ],
)
def test_mistakes_are_named_with_their_line(manifest, text, message):
    with pytest.raises(ValueError, match=rf"manifest\.csv.*{message}"):
        read_manifest(manifest(text))


def test_another_encoding(manifest):
    with pytest.raises(ValueError, match="not a UTF-8 text file"):
        read_manifest(manifest(HEADER + "ä.png,1,1,train\n", encoding="latin-1"))


def test_rows_are_judged_together(manifest):
    rows = "images/a.png,one,1,train\nimages/b.png,1,1,train\nimages/z.png,1,1,train\nimages/b.png,2,1,query\n"
    found = survey(manifest(HEADER + rows + "images/c.png,1,1,\n" * 4))
    assert [record.name for record in found.dataset.train] == ["b.png"]
    (error,) = found.errors
    assert "manifest.csv: 7 rows cannot be used: line 2: pid 'one' is no integer; line 4: no file" in error
    assert "line 5: a second image named b.png, as in line 3; key points go by file name" in error
    assert error.endswith("line 6: split ''; expected one of train, query, gallery; line 7: split ''; expected one of "
                          "train, query, gallery; and 2 more")  # fmt: skip
    with pytest.raises(ValueError, match="7 rows cannot be used"):
        found.usable()


def test_a_name_is_free_again_if_its_row_was_bad(manifest):
    rows = "images/a.png,one,1,train\nimages/a.png,1,1,train\n"
    assert [record.pid for record in survey(manifest(HEADER + rows)).dataset.train] == [1]


def test_a_spreadsheet_writes_a_mark_first(manifest):
    found = read_manifest(manifest(HEADER + "images/a.png,1,1,train\n", encoding="utf-8-sig"))
    assert len(found.train) == 1


@pytest.mark.parametrize("header", ["path,pid,split\n", "path,pid,split,camid\n"])
def test_no_camera_is_known(manifest, header):
    found = read_manifest(manifest(header + "images/a.png,1,train\nimages/b.png,2,query\nimages/c.png,2,gallery\n"))
    assert {record.camid for record in (*found.train, *found.query, *found.gallery)} == {UNKNOWN_CAMERA}
    assert not found.has_cameras
    of_training, of_search = found.notes
    assert "the camera of 1 of 1 training images is unknown: they count as one camera" in of_training
    assert "the camera of 2 of 2 query and gallery images is unknown: a search leaves out no image" in of_search


def test_some_cameras_are_known(manifest):
    found = read_manifest(
        manifest(HEADER + "images/a.png,1,0,train\nimages/b.png,2,-1,query\nimages/c.png,2,3,gallery\n")
    )
    assert [record.camid for record in (*found.train, *found.query, *found.gallery)] == [0, -1, 3]
    assert found.has_cameras
    assert len(found.notes) == 1
    assert "1 of 2 query and gallery" in found.notes[0]


def test_cameras_from_0_on_are_cameras(manifest):
    found = read_manifest(manifest(HEADER + "images/a.png,1,0,train\n"))
    assert found.has_cameras
    assert found.notes == ()


def test_distractors_stand_in_the_gallery(manifest):
    found = read_manifest(manifest(HEADER + "images/a.png,1,1,train\nimages/b.png,0,1,gallery\n"))
    assert [record.pid for record in found.gallery] == [0]
