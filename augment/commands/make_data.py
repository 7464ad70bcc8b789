"""`augment make-data`: procedural pedestrians."""

from pathlib import Path

import click

from augment.commands import options


class Size(click.ParamType):
    """HEIGHTxWIDTH in pixels."""

    name = "HxW"

    def convert(
        self, value: str | tuple[int, int], param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        height, _, width = value.lower().partition("x")
        if not (height.isdigit() and width.isdigit()):
            self.fail(f"{value!r}: expected HEIGHTxWIDTH in pixels, such as 128x64", param, ctx)
        return int(height), int(width)


@click.command("make-data")
@click.argument("out", type=click.Path(path_type=Path))
# Size of the set
@click.option("--identities", default=64, show_default=True, type=click.IntRange(2), help="Training identities.")
@click.option(
    "--test-identities", default=32, show_default=True, type=click.IntRange(1), help="Query and gallery identities."
)
@click.option("--cameras", default=6, show_default=True, type=click.IntRange(2, 6), help="Cameras.")
@click.option(
    "--per-camera", default=4, show_default=True, type=click.IntRange(1), help="Images of an identity in a camera."
)
# Images
@click.option("--size", default="128x64", show_default=True, type=Size(), help="Image size in pixels.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of everything random.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes; the images do not depend on it."
)
@options.config
def command(
    out: Path,
    identities: int,
    test_identities: int,
    cameras: int,
    per_camera: int,
    size: tuple[int, int],
    seed: int,
    workers: int,
) -> None:
    """Draw articulated walkers with exact key points into OUT, in Market-1501's layout.

    \b
    Example:
      augment make-data data --identities 64 --test-identities 32
      augment check data
    """
    from augment import files
    from augment.data.pedestrians import PedestriansConfig, make_data

    wanted = PedestriansConfig(identities, test_identities, cameras, per_camera, size, seed)
    with options.progress_bar("drawing", "img") as progress, files.naming(out):
        made = make_data(wanted, out, workers=workers, progress=progress)
    click.echo(made)
