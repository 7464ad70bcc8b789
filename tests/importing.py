"""A folder of images and the table of them, to be imported."""

import csv

import numpy as np
from PIL import Image

from augment import store
from augment.importing import ImportConfig, run

SIZE = (24, 12)
CONFIG = ImportConfig("diffusion")


def pixels(seed, size=SIZE, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)


def write(path, entries):
    """A CSV whose columns are the keys of the first entry."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(entries[0]))
        table.writeheader()
        table.writerows(entries)
    return path


class Given:
    """A folder of five images and the table of them."""

    def __init__(self, root, dataset):
        self.folder, self.table, self.out = root / "images", root / "images.csv", root / "x.h5"
        (self.folder / "deep").mkdir(parents=True)
        self.sources = dataset.train[:5]
        self.names = ["a.png", "b.png", "deep/c.png", "d.png", "e.png"]
        for seed, name in enumerate(self.names):
            Image.fromarray(pixels(seed)).save(self.folder / name)
        self.entries = [
            {"name": name, "pid": source.pid, "camid": source.camid, "source": source.name, "target": "", "seed": ""}
            for name, source in zip(self.names, self.sources, strict=True)
        ]
        self.write()

    def write(self, **changed):
        """Write the table, row by row with the changed cells (a list of five a column)."""
        for column, cells in changed.items():
            for entry, cell in zip(self.entries, cells, strict=True):
                entry[column] = cell
        return write(self.table, self.entries)

    def without(self, *columns):
        self.entries = [{key: cell for key, cell in e.items() if key not in columns} for e in self.entries]
        return self.write()


def made(given, data, config=CONFIG, **options):
    return store.Reader(run(config, given.folder, given.table, data, given.out, **options))
