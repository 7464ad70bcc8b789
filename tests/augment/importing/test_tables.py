"""Wrong tables and images are refused line by line, and nobody's test identities slip in."""

import shutil

import numpy as np
import pytest
from PIL import Image

from augment import audit
from augment.importing import ImportConfig
from tests.importing import made, pixels, write

# Rows that are wrong


@pytest.mark.parametrize(
    ("column", "cell", "said"),
    [
        ("name", "", "name '' is no path inside of"),
        ("name", ".", r"name '\.' is no path inside of"),
        ("name", "/etc/passwd", "is no path inside of"),
        ("name", "../images/a.png", "is no path inside of"),
        ("name", "deep/../a.png", "is no path inside of"),
        ("name", "absent.png", r"name 'absent\.png': no such file in .*images"),
        ("name", "b\0.png", "no such file|not a UTF-8 CSV"),
        ("name", "deep", "name 'deep' is no file"),
        ("name", "b.png", r"b\.png is also in line 3"),
        ("name", "./deep/./c.png", r"deep/c\.png is also in line 4"),
        ("source", "", "source '' is no training image of DATA"),
        ("source", "9999_c1s1_000001_01.jpg", "is no training image of DATA"),
        ("pid", "123456", r"pid 123456, but its source \S+ has \d+"),
        ("pid", "2.0", r"pid '2\.0' is no integer"),
        ("camid", "77", r"camid 77, but its source"),
        ("seed", "-1", "seed -1: expected 0 to 18446744073709551615"),
        ("seed", "18446744073709551616", "seed 18446744073709551616: expected"),
        ("seed", "x", "seed 'x' is no integer"),
    ],
)
def test_a_wrong_cell_is_named_with_its_line(given, pedestrians, column, cell, said):
    cells = [entry[column] for entry in given.entries]
    wrong = 4 if column == "name" else 2
    given.write(**{column: [*cells[:wrong], cell, *cells[wrong + 1 :]]})
    with pytest.raises(ValueError, match=said) as caught:
        made(given, pedestrians, ImportConfig("g", ignore_unlisted=True))
    assert f"line {wrong + 2}" in str(caught.value) or "CSV" in str(caught.value)
    assert not given.out.exists()


def test_links_may_not_lead_out_of_the_folder(given, pedestrians, tmp_path):
    outside = tmp_path / "secret"
    outside.mkdir()
    Image.fromarray(pixels(0)).save(outside / "a.png")
    for link, goal in (("e.png", outside / "a.png"), ("link", outside), ("loop.png", given.folder / "loop.png")):
        (given.folder / link).unlink(missing_ok=True)
        (given.folder / link).symlink_to(goal)
    given.write(name=[*given.names[:3], "link/a.png", "e.png"])
    with pytest.raises(
        ValueError, match=r"line 5: name 'link/a\.png' leads out of .*; line 6: name 'e\.png' leads out"
    ):
        made(given, pedestrians)
    given.write(name=[*given.names[:4], "loop.png"])
    with pytest.raises(ValueError, match=r"loop\.png': no such file"):
        made(given, pedestrians)
    (given.folder / "inner.png").symlink_to(given.folder / "d.png")
    given.write(name=[*given.names[:3], "a2.png", "inner.png"])
    (given.folder / "a2.png").symlink_to("a.png")
    reader = made(given, pedestrians, ImportConfig("g", ignore_unlisted=True))
    np.testing.assert_array_equal(reader.image(4), pixels(3), "links inside of it are followed")


def test_up_to_five_problems_in_one_message(given, pedestrians):
    given.write(source=["x.jpg"] * 5, seed=["y"] * 5)
    with pytest.raises(ValueError, match=r"line 2: .*line 6: ") as caught:
        made(given, pedestrians)
    assert str(caught.value).count("is no training image") == 5
    for seed, name in enumerate(("f.png", "g.png")):
        shutil.copy(given.folder / "a.png", given.folder / name)
        given.entries.append(given.entries[seed] | {"name": name})
    write(given.table, given.entries)
    with pytest.raises(ValueError, match=r"line 6: .*; and 2 more$"):
        made(given, pedestrians)


def test_images_that_are_none(given, pedestrians):
    (given.folder / "a.png").write_text("no image")
    Image.fromarray(pixels(0)).save(given.folder / "b.png", format="BMP")
    (given.folder / "deep/c.png").write_bytes((given.folder / "deep/c.png").read_bytes()[:-400])
    Image.fromarray(pixels(0)[..., 0].astype(np.uint16) * 256).save(given.folder / "d.png")
    with pytest.raises(ValueError, match="line 2: ") as caught:
        made(given, pedestrians)
    for line, said in ((2, "not a readable image"), (3, "neither JPEG nor PNG"), (4, "not a readable"), (5, "I;16")):
        assert said in str(caught.value).split(f"line {line}: ")[1].split("; line")[0]
    assert "line 6" not in str(caught.value)


def test_a_transparent_image_is_refused_and_nothing_is_left(given, pedestrians):
    Image.fromarray(pixels(5, channels=4)).save(given.folder / "e.png")
    with pytest.raises(ValueError, match=r"e\.png: not a readable image \(partly transparent"):
        made(given, pedestrians)
    assert sorted(path.name for path in given.out.parent.iterdir()) == ["images", "images.csv"]


def test_images_without_a_row_are_named_or_left_out(given, pedestrians):
    for name in ("z.JPG", "deep/y.jpeg"):
        Image.fromarray(pixels(0)).save(given.folder / name, format="JPEG")
    for name in ("notes.txt", ".hidden.png"):
        (given.folder / name).write_text("x")
    with pytest.raises(
        ValueError, match=r"2 images are not in .*images\.csv \(deep/y\.jpeg, z\.JPG\).*--ignore-unlisted"
    ):
        made(given, pedestrians)
    lines = []
    assert len(made(given, pedestrians, ImportConfig("g", ignore_unlisted=True), log=lines.append)) == 5
    assert "2 images that are not in the table are left out" in lines[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "lists no image"),
        ("name,source\n", "lists no image"),
        ("name,pid,camid\na.png,2,1\n", "no column source: of which training image .* no test identity"),
        ("source\na.jpg\n", "no column name in 'source'"),
        ("name;source\na.png;b.jpg\n", "no column name in 'name;source'"),
        ("name,source,name\na,b,c\n", "a column is there twice"),
        ("name,source\na.png\n", "line 2: 1 cells, the header has 2"),
        ("name,source\na.png,b.jpg,c\n", "line 2: 3 cells, the header has 2"),
        ('name,source\n"a.png,b.jpg\n', "not a UTF-8 CSV file"),
        ("name,source\n\xff", "not a UTF-8 CSV file"),
    ],
)
def test_tables_that_are_none(given, pedestrians, text, said):
    given.table.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=f"images.csv: .*{said}"):
        made(given, pedestrians)


# Test identities


@pytest.mark.parametrize("role", ["source", "target"])
@pytest.mark.parametrize("split", ["query", "gallery"])
def test_images_of_test_identities_are_refused(given, pedestrians, dataset, points, role, split):
    leaked = getattr(dataset, split)[0]
    given.entries[3] |= {role: leaked.name, "pid": "", "camid": ""}
    given.write()
    with pytest.raises(ValueError, match=f"line 5: {role} {leaked.name} is an image of query or gallery"):
        made(given, pedestrians)
    reader = made(given, pedestrians, ImportConfig("g", allow_test_identities=True))
    assert reader.attributes[audit.TEST_IDENTITIES]
    assert leaked.name in reader.used_files()
    if role == "source":
        assert (reader.identity(3), reader.camera(3)) == (leaked.pid, leaked.camid)
    else:
        assert not np.isnan(reader.target_pose[3]).all()


def test_the_stamp_is_part_of_what_a_set_is(given, pedestrians):
    made(given, pedestrians)
    with pytest.raises(ValueError, match=r"x\.h5: holds another set: test_identities \(None there, True here\)"):
        made(given, pedestrians, ImportConfig("diffusion", allow_test_identities=True))
    made(given, pedestrians, ImportConfig("diffusion", allow_test_identities=True), force=True)
    with pytest.raises(ValueError, match=r"test_identities \(True there, None here\)"):
        made(given, pedestrians)


def test_a_data_set_that_leaks_is_refused(given, dataset, tmp_path):
    lines = ["path,pid,camid,split"]
    for split, records in (("train", dataset.train), ("query", dataset.query), ("gallery", dataset.gallery)):
        lines += [f"{record.path},{record.pid},{record.camid},{split}" for record in records]
    same, taken = dataset.train[0].pid, dataset.query[0]
    manifest = tmp_path / "data.csv"
    manifest.write_text("\n".join(lines).replace(f"{taken.path},{taken.pid},", f"{taken.path},{same},") + "\n")
    with pytest.raises(ValueError, match="results would be leaked"):
        made(given, manifest)
