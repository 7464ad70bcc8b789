"""Damage to a set and forgery of it, and what the checks say to them."""

import json

import h5py

from augment import agreement, plan
from augment.integrity import Subject
from augment.store.hdf5 import ATTRIBUTES_SHA256
from augment.verification import WRONG, examine


def change(path, edit):
    """A change, without the checksum of the attributes: files of older versions have none, and a forger needs none."""
    with h5py.File(path, "r+") as file:
        edit(file)
        if ATTRIBUTES_SHA256 in file.attrs:
            del file.attrs[ATTRIBUTES_SHA256]
    return path


def forge(path, edit):
    """A change by somebody who knows the format: the digest of the plan is made to fit."""

    def consistently(file):
        edit(file)
        names = [name.decode() for name in file["files"][...]]
        file.attrs["plan_sha256"] = plan.digest(names, lambda column: [file[column][...]])

    return change(path, consistently)


def states(path, data=None, annotation=None):
    opened = None if data is None else agreement.open_data(data, annotation)
    return {check.name: check for check in examine(Subject(path), opened)}


def wrong(path, data=None):
    """What is wrong, by check."""
    return {name: check.said for name, check in states(path, data).items() if check.state == WRONG}


def set_value(column, row, value):
    return lambda file: file[column].__setitem__(row, value)


def set_attribute(name, value):
    return lambda file: file.attrs.__setitem__(name, json.dumps(value) if isinstance(value, dict) else value)


def forget_image(file):
    """Never allocated chunks are read as zeros."""
    images = file["images"]
    shape, chunks = images.shape, images.chunks
    del file["images"]
    file.create_dataset("images", shape, "u1", chunks=chunks)


def replace(name, **options):
    def edit(file):
        del file[name]
        file.create_dataset(name, **options)

    return edit
