"""Files that were made to do harm, and random damage: refused by name, or found by `augment verify`, and nothing else.

What `test_store` holds is not repeated here. Everything is read in a process with a limit of time and memory.
"""

import csv
import json
import os
import resource
import tarfile

import h5py
import numpy as np
import pytest

from augment import export, store
from augment.data import market1501
from augment.integrity import Subject
from augment.verification import WRONG, examine
from tests import fuzzing
from tests.fuzzing import ROWS, SCORES, SELECTION, SET, SIZE, TARGETS

SCALAR = h5py.h5s.create(h5py.h5s.SCALAR)
MANY = h5py.h5s.create_simple((ROWS,))


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    monkeypatch.setattr(store.shards, "SHARD_ROWS", fuzzing.SHARD_ROWS)


@pytest.fixture
def folder(tmp_path):
    return fuzzing.make_forms(tmp_path / "set")


def confined(function):
    """As a process that has little memory."""

    def call():
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, resource.RLIM_INFINITY))
        return function()

    return call


def failed(path):
    return [check.name for check in examine(Subject(path)) if check.state == WRONG]


def change(path, edit):
    with h5py.File(path, "r+") as file:
        edit(file)


def column(name, kind, space=MANY, **options):
    """Another column in place of one."""

    def edit(file):
        del file[name]
        h5py.h5d.create(file.id, name.encode(), kind, space, **options)

    return edit


def chunked(name, dtype, shape, chunks):
    def edit(file):
        del file[name]
        file.create_dataset(name, shape, dtype, chunks=chunks, maxshape=(None,) * len(shape))

    return edit


def attribute(name, value, **options):
    return lambda file: file.attrs.create(name, value, **options)


def broken_text(file):
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(h5py.h5t.VARIABLE)
    kind.set_cset(h5py.h5t.CSET_UTF8)
    h5py.h5a.create(file.id, b"note", kind, SCALAR).write(np.asarray(b"\xff\xfe", dtype=object))


COLUMNS = {
    "chunks of gigabytes": (chunked("pid", "<i4", (ROWS,), (2**29,)), "pid declares 2,147,483,648 bytes"),
    "image chunks of gigabytes": (chunked("images", "u1", (ROWS, *SIZE, 3), (1024, 1024, 64, 48)), "images declares"),
    "compound": (column("pid", h5py.h5t.py_create(np.dtype([("a", "<i4")]))), "pid is"),
    "bit field": (column("pid", h5py.h5t.STD_B32LE), "pid is"),
    "time": (column("pid", h5py.h5t.UNIX_D32LE), "damaged"),
    "opaque": (column("crc32", h5py.h5t.py_create(np.dtype("V4"))), "crc32 is"),
    "references": (column("seed", h5py.h5t.STD_REF_OBJ), "seed holds objects"),
    "large arrays": (column("pid", h5py.h5t.array_create(h5py.h5t.STD_I32LE, (2**20,))), "pid declares"),
    "variable length": (column("files", h5py.h5t.py_create(h5py.string_dtype(), logical=True)), "files holds objects"),
    "big endian": (column("pid", h5py.h5t.STD_I32BE), "pid is >i4"),
    "no dimensions": (column("pid", h5py.h5t.STD_I32LE, SCALAR), "pid is"),
    "nothing": (column("pid", h5py.h5t.STD_I32LE, h5py.h5s.create(h5py.h5s.NULL)), "damaged"),
    "never stored": (column("seed", h5py.h5t.STD_U64LE), "seed is declared, but not stored"),
}
ATTRIBUTES = {
    "many values": (attribute("note", np.zeros(7000, "u1")), "neither text nor numbers"),
    "an opaque value": (attribute("note", np.void(b"abc")), "neither text nor numbers"),
    "no value": (attribute("note", h5py.Empty("f4")), "neither text nor numbers"),
    "a complex number": (attribute("note", np.complex128(1)), "neither text nor numbers"),
    "a reference": (lambda file: attribute("note", file["pid"].ref)(file), "neither text nor numbers"),
    "a text that is none": (broken_text, "damaged"),
    "a schema in colours": (attribute("schema", "1\x1b[31m"), r"schema '1\x1b[31m'"),
    "a list for the generator": (attribute("generator", "[1]"), "damaged provenance"),
    "a number for the plan": (attribute("plan_sha256", 3), "damaged provenance"),
    "no number for the start": (attribute("start", np.nan), "damaged provenance"),
    "a number of many digits": (attribute("config", "9" * 5000), "damaged provenance"),
    "a deep configuration": (attribute("config", "[" * 30_000 + "]" * 30_000), "damaged provenance"),
}


@pytest.mark.parametrize("name", [*COLUMNS, *ATTRIBUTES])
def test_a_hostile_set_is_refused_by_name_at_once(folder, name):
    edit, said = {**COLUMNS, **ATTRIBUTES}[name]
    change(folder / SET, edit)
    kind, value = fuzzing.answer(confined(lambda: fuzzing.read_all(folder / SET)))
    assert kind == "refused"
    assert value.startswith(f"{folder / SET}: ")
    assert said in value
    assert value.isprintable()
    assert "structure" in failed(folder / SET)


def own_child(file):
    file["score/score"] = file["score"]


def root_as_score(file):
    del file["score"]
    file["score"] = file["/"]


def deep_groups(file):
    file.create_group("/".join(["score"] * 500))


def long_score(file):
    del file["score/margin"]
    file.create_dataset("score/margin", (2**40,), "<f4", chunks=(2,))


def outside_score(file):
    del file["score/margin"]
    file.create_dataset("score/margin", (ROWS,), "<f4", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])


def soft_score(file):
    file.move("score/margin", "margin")
    file["score/margin"] = h5py.SoftLink("/margin")


@pytest.mark.parametrize(
    "edit",
    [
        own_child,
        root_as_score,
        deep_groups,
        long_score,
        outside_score,
        soft_score,
        lambda file: file["score/margin"].__setitem__(0, np.inf),
        attribute("provenance", "[1]"),
        attribute("checksums", "{}"),
        attribute("content_sha256", 1),
    ],
)
def test_hostile_scores_are_refused_by_name(folder, edit):
    change(folder / SCORES, edit)
    kind, value = fuzzing.answer(confined(lambda: fuzzing.read_all(folder / SET)))
    assert kind == "refused"
    assert value.startswith(f"{folder / SCORES}: ")
    assert failed(folder / SET) == ["scores"]


def test_scores_need_not_be_finite(folder):
    reader = store.Reader(folder / SET)
    values = np.asarray([np.nan, np.inf, -np.inf, *range(ROWS - 3)], np.float32)
    store.write_scores(reader, {"odd": store.Score(values, {})})
    np.testing.assert_array_equal(store.Reader(folder / SET).scores["odd"].values, values)
    assert not failed(folder / SET)


def test_a_link_of_a_kind_that_nobody_knows_is_not_followed(folder):
    """HDF5 lets programs define links; nobody has defined this one."""
    change(folder / SET, lambda file: file.__setitem__("more", h5py.ExternalLink("other.h5", "/found/there")))
    data = (folder / SET).read_bytes()
    external, name = b"\x40", b"\x04more"  # the kind of a link stands before its name and the name's length
    assert data.count(external + name) == 1
    (folder / SET).write_bytes(data.replace(external + name, b"\xc8" + name))
    kind, value = fuzzing.answer(lambda: failed(folder / SET))
    assert (kind, value) == ("returned", ["structure"])


def test_texts_of_our_own_files_are_of_fixed_length(folder):
    """Damaged ones of variable length hang and crash HDF5 2.0; only what is too long for a header is of such length."""
    for name in (SET, SCORES, SELECTION, *(name for name in TARGETS if "plan" in name or "part" in name)):
        if not name.endswith(".h5"):
            continue
        with h5py.File(folder / name) as file:
            kinds = [h5py.h5a.open(file.id, key.encode()).get_type() for key in file.attrs]
        texts = [kind for kind in kinds if isinstance(kind, h5py.h5t.TypeStringID)]
        assert texts
        assert not any(kind.is_variable_str() for kind in texts)


def test_texts_of_any_length_come_back(tmp_path):
    plan, images = fuzzing.small_plan(), fuzzing.small_images()
    said = {"tool": "", "note": "ähnlich " * 100, "long": "x" * 100_000, "config": {"key": "ö" * 60_000}}
    made = store.write_set(tmp_path / "x.h5", plan, fuzzing.PROVENANCE | said, iter([images]))
    attributes = store.Reader(made).attributes
    assert {name: attributes[name] for name in said} == said


# Selections


def selecting(base=None, rows=None, **attributes):
    """A selection that was made by hand."""

    def edit(file):
        if base is not None:
            file.attrs["base"] = base
        if rows is not None:
            numbers = np.asarray(rows, "<i8")
            del file["rows"]
            file["rows"] = numbers
            file.attrs["rows_crc32"] = store.selection.zlib.crc32(numbers.tobytes())
        for name, value in attributes.items():
            file.attrs[name] = value

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        selecting(base="/dev/zero"),
        selecting(base="../" * 40 + "dev/zero"),
        selecting(base="../" * 40 + "etc"),
        selecting(base="pipe"),
        selecting(base=SELECTION),
        selecting(base="other.h5"),
        selecting(base="."),
        selecting(base=".."),
        selecting(base=""),
        selecting(base="x" * 5000),
        selecting(base="\x1b[31m"),
        selecting(base=3),
        selecting(base=SCORES),
        selecting(base="parts/part-00001.h5"),
        selecting(rows=[]),
        selecting(rows=[-1, 2]),
        selecting(rows=[2, 2]),
        selecting(rows=[4, 1]),
        selecting(rows=[0, ROWS]),
        selecting(rows=[0, 2**63 - 1]),
        selecting(rows=[[0, 1]]),
        selecting(base_content="0" * 64),
        selecting(selection="[]"),
        selecting(rows_crc32=1),
    ],
)
def test_hostile_selections_are_refused_by_name(folder, edit):
    """Devices, pipes, folders, circles of selections, rows that are not there; none is waited for."""
    os.mkfifo(folder / "pipe")
    (folder / "other.h5").write_bytes((folder / SELECTION).read_bytes())
    change(folder / "other.h5", selecting(base=SELECTION))
    change(folder / SELECTION, edit)
    kind, value = fuzzing.answer(confined(lambda: fuzzing.read_all(folder / SELECTION)), 10)
    assert kind == "refused"
    assert str(folder) in value
    kind, value = fuzzing.answer(confined(lambda: failed(folder / SELECTION)), 10)
    assert kind == "returned"
    assert value


# Names and numbers out of a set in what is exported

TRICKS = (
    "../../up.jpg",
    "/etc/up.jpg",
    "..\\up.jpg",
    "=HYPERLINK(0)",
    'line\nbreak,\r\n"quoted".jpg',
    "x" * 4000,
    "\x1b[31mred",
    "nul\0l.jpg",
)


@pytest.fixture
def tricky(tmp_path):
    """A set of sources whose names are tricks, of the largest identities and cameras that there may be."""
    rows = len(TRICKS)
    plan = fuzzing.Plan(
        files=TRICKS,
        poses=np.zeros((rows, 18, 2), np.float32),
        pid=np.asarray([0, 2**31 - 1] * (rows // 2)),
        camid=np.asarray([2**15 - 1, 0] * (rows // 2)),
        source_index=np.arange(rows),
        target_index=np.arange(rows)[::-1].copy(),
        seed=np.full(rows, 2**64 - 1, np.uint64),
    )
    images = np.zeros((rows, *SIZE, 3), np.uint8)
    (tmp_path / "in").mkdir()
    return store.write_set(tmp_path / "in" / "x.h5", plan, fuzzing.PROVENANCE, iter([images]))


@pytest.mark.parametrize("to", ["folder", "webdataset"])
def test_exported_names_come_from_numbers_only(tricky, tmp_path, to):
    before = set(tmp_path.rglob("*"))
    out = export.run(export.ExportConfig(to, None), tricky, tmp_path / "in" / "out")
    made = set(tmp_path.rglob("*")) - before - {out}
    assert all(path.is_relative_to(out) and not path.is_symlink() for path in made)
    if to == "webdataset":
        with tarfile.open(out / "out-000000.tar") as tar:
            assert tar.getnames() == [f"{row:09d}.{kind}" for row in range(len(TRICKS)) for kind in ("png", "json")]
            facts = [json.loads(tar.extractfile(f"{row:09d}.json").read()) for row in range(len(TRICKS))]
        assert [(fact["source"], fact["pid"]) for fact in facts][1] == (TRICKS[1], 2**31 - 1)
        assert [fact["source"] for fact in facts] == list(TRICKS)
        return
    records = market1501.read_folder(out / "bounding_box_train")
    assert {(record.pid, record.camid) for record in records} == {(0, 2**15 - 1), (2**31 - 1, 0)}
    with (out / "images.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == list(TRICKS), "quoted where they must be, and nothing added"
    assert {row["seed"] for row in rows} == {str(2**64 - 1)}


# Random damage; `benchmarks/fuzz.py` does the same with a thousand files


@pytest.mark.parametrize("name", TARGETS)
def test_random_damage_lets_nothing_through(folder, name):
    whole = fuzzing.read_all(folder / TARGETS[name])
    for number in range(8):
        outcome = fuzzing.try_damaged(folder, name, np.random.default_rng([7, number]), whole)
        assert fuzzing.is_safe(*outcome), (number, outcome)
    assert fuzzing.read_all(folder / TARGETS[name]) == whole


def test_the_judge_of_damage_is_no_rubber_stamp(folder):
    """Identical where nothing is changed; what a reader lets through and `verify` does not is told apart."""
    whole = fuzzing.read_all(folder / SET)

    class Still:
        def random(self):
            return 1.0

        def integers(self, *_, size=None):
            return np.zeros(0, int) if size is not None else 1

    assert fuzzing.try_damaged(folder, SET, Still(), whole) == ("identical", "holds")
    change(folder / SET, lambda file: file["pid"].__setitem__(0, 9))
    assert fuzzing.try_damaged(folder, SET, Still(), whole) == ("other columns", "wrong")
    assert not fuzzing.is_safe("other columns", "holds")
    assert not fuzzing.is_safe("other pixels", "wrong")
    assert not fuzzing.is_safe("raised: TypeError()", "wrong")
