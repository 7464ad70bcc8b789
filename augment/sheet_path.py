"""Where a sheet of images may be written: not among the images, and in the place of nothing but a sheet."""

from collections.abc import Sequence
from pathlib import Path

PNG = b"\x89PNG\r\n\x1a\n"  # how such a file begins


def require_sheet(sheet: Path, folders: Sequence[Path], *, below: bool = False) -> None:
    """Refuse a sheet that would be one of the images in `folders`, or `below` them, or replace what is no sheet.

    Raises:
        ValueError: another suffix, a folder of the images, or a file that is no PNG.
    """
    require_suffix("--sheet", sheet, ".png")
    place, read = sheet.parent.resolve(), {folder.resolve() for folder in folders}
    if not read.isdisjoint({place, *(place.parents if below else ())}):
        raise ValueError(f"--sheet {sheet}: lies among the images that are read; write it to another folder")
    if sheet.is_file():
        with sheet.open("rb") as file:
            if file.read(len(PNG)) != PNG:
                raise ValueError(
                    f"--sheet {sheet}: is there, and no PNG that a sheet may replace; give it another name"
                )


def require_suffix(option: str, path: Path, suffix: str) -> None:
    if path.suffix.lower() != suffix:
        raise ValueError(f"{option} {path}: ends with {path.suffix!r}; name it {suffix}")
