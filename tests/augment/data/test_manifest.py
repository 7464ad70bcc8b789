"""CSV manifests: any other data set."""

import pytest

from augment.data.manifest import read_manifest
from augment.data.read import read_data

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
        ("path,pid,split\n", "no column camid; the header must be path,pid,camid,split"),
        ("", "no column path, pid, camid, split"),
        (HEADER, "lists no image with split 'train'"),
        (HEADER + "images/a.png,1,1,test\n", r"line 2: split 'test'; expected one of train, query, gallery"),
        (HEADER + "images/a.png,1,1\n", "line 2: split ''"),
        (HEADER + "images/a.png,1,1,train\nimages/z.png,1,1,train\n", r"line 3: no file .*z\.png; paths are relative"),
        (HEADER + "images,1,1,train\n", "line 2: no file"),
        (HEADER + "images/a.png,one,1,train\n", "line 2: pid 'one' is no integer"),
        (HEADER + "images/a.png,,1,train\n", "line 2: pid '' is no integer"),
        (HEADER + "images/a.png,1,c1,train\n", "line 2: camid 'c1' is no integer"),
        (HEADER + '"' + "x" * 200_000 + '",1,1,train\n', "field larger than field limit"),
    ],
)
def test_mistakes_are_named_with_their_line(manifest, text, message):
    with pytest.raises(ValueError, match=rf"manifest\.csv.*{message}"):
        read_manifest(manifest(text))


def test_another_encoding(manifest):
    with pytest.raises(ValueError, match="not a UTF-8 text file"):
        read_manifest(manifest(HEADER + "ä.png,1,1,train\n", encoding="latin-1"))
