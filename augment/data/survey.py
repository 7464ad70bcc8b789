"""A data set as far as it can be read, and everything that stands in the way of using it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from augment.data.records import DISTRACTOR, DataSet, Record

MOST_NAMED = 5


@dataclass(frozen=True)
class Survey:
    """What was read; `errors` name all that was not."""

    dataset: DataSet
    errors: tuple[str, ...] = ()
    junk: Mapping[str, int] = field(default_factory=dict)  # images of identity -1 by split, which are left out

    def usable(self) -> DataSet:
        """The data set, if nothing is wrong with it.

        Raises:
            ValueError: the first error, and how many more there are.
        """
        if not self.errors:
            return self.dataset
        more = len(self.errors) - 1
        raise ValueError(self.errors[0] + (f" ({more} more errors: see `augment check`)" if more else ""))


def nobody(split: str, where: object, records: Sequence[Record]) -> list[str]:
    """An error if distractors are trained on or searched for: identity 0 is no person, so it belongs in a gallery."""
    found = [record.name for record in records if record.pid == DISTRACTOR]
    if split == "gallery" or not found:
        return []
    return [
        f"{where}: {len(found)} {split} images of identity 0 ({found[0]}), which means a distractor, nobody in "
        "particular, and may stand in the gallery only; number people from 1 (-1 leaves an image out)"
    ]


def some(values: Iterable[object], separator: str = ", ", most: int = MOST_NAMED) -> str:
    """The first few, and how many more there are."""
    listed = [str(value) for value in values]
    return separator.join(listed[:most]) + (f"{separator}and {len(listed) - most} more" if len(listed) > most else "")
