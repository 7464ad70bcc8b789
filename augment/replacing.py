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
        return store.Reader(out)
    if not store.is_selection(out):
        try:
            store.Reader(out)
        except ValueError as error:
            raise ValueError(
                f"{error}; --force replaces whole sets only, so remove it or choose another --out"
            ) from None
    return None
