"""What already lies where a whole set is to be written."""

from pathlib import Path

from augment import store


def standing_set(out: Path, force: bool) -> store.Reader | None:
    """The set at `out`, which a stage must find to be its own; None where the stage may write.

    With `force` a set at `out` may be written over: it is replaced by the new one in one step.

    Raises:
        ValueError: no name of a set, or something else lies there.
    """
    if out.suffix != ".h5" or out.name.endswith(".scores.h5"):
        raise ValueError(f"--out {out}: expected a file name that ends in .h5 (and not in .scores.h5)")
    if not out.exists():
        return None
    if not force:
        reader = store.Reader(out)
        if reader.rows is not None or not reader.attributes.get("complete"):
            what = f"a selection of {reader.base}" if reader.rows is not None else "one shard of a set"
            raise ValueError(f"{out}: is {what}; choose another --out")
        return reader
    if not store.is_selection(out):
        try:
            store.Reader(out)
        except ValueError as error:
            raise ValueError(
                f"{error}; --force replaces whole sets only, so remove it or choose another --out"
            ) from None
    return None
