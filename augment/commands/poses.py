"""`augment poses`: find the key points of persons."""

from pathlib import Path

import click

from augment.commands import options


@click.command("poses")
@options.DATA
@options.out("Key points in PATN's format (.csv); what made them is said in OUT.json beside it.")
# By what
@click.option(
    "--estimator", default="rtmpose", show_default=True, type=click.Choice(["rtmpose", "keypointrcnn"]),
    help="rtmpose needs the extra `pose`.",
)  # fmt: skip
@click.option(
    "--weights", type=options.existing(), metavar="FILE",
    help="Of the estimator. [default: in the caches of torch and rtmlib, if there; never downloaded]",
)  # fmt: skip
@click.option(
    "--coco", type=options.existing(), metavar="FILE.json",
    help="Take COCO's key points from this file instead; of several persons the best or largest.",
)  # fmt: skip
@click.option(
    "--coco-images", type=options.existing(), metavar="FILE.json",
    help="The annotation file that numbers the images, where --coco is a detector's list of results.",
)  # fmt: skip
# Of what
@click.option(
    "--split", default="all", show_default=True, type=click.Choice(["all", "train", "test"]),
    help="Which images of a data set; test is query and gallery.",
)  # fmt: skip
@click.option("--recursive", is_flag=True, help="DATA is a folder of folders: all images below it, by file name.")
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Draw some of the skeletons (PNG).")
@click.option(
    "--batch", default=32, show_default=True, type=click.IntRange(1), metavar="N", help="Images read at a time."
)
@options.device
@options.force
@options.config
@options.dry_run
@click.pass_context
def command(
    ctx: click.Context, data: Path, out: Path, estimator: str, weights: Path | None, coco: Path | None,
    coco_images: Path | None, split: str, recursive: bool, sheet: Path | None, batch: int, device: str, force: bool,
    dry_run: bool,
) -> None:  # fmt: skip
    """Find the joints of the person in each image of DATA: a data set's root, a CSV manifest or a folder of images.

    The whole image is the person's box. Running the command again continues it. The files that `train-generator` and
    the others look for in a root are market-annotation-train.csv and market-annotation-test.csv; any other is given
    to them as --poses FILE.

    \b
    Example:
      augment poses data --split train --out data/market-annotation-train.csv --sheet poses.png
      augment poses data --split test --out data/market-annotation-test.csv
    """
    if coco is not None:
        for name in ("estimator", "weights"):
            if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
                raise click.UsageError(f"--{name}: --coco FILE needs no estimator; drop one of the two")
    elif coco_images is not None:
        raise click.UsageError("--coco-images: says which images the file of --coco is of; give that too")
    from augment.poses import PosesConfig, prepare, run

    config = PosesConfig(estimator, split, batch, recursive)
    if dry_run:
        job = prepare(
            config, data, out, weights=weights, coco=coco, coco_images=coco_images, sheet=sheet, device=device,
            force=force,
        )  # fmt: skip
        click.echo(job)
        return
    with options.progress_bar("finding poses", "img") as progress:
        path = run(
            config, data, out, weights=weights, coco=coco, coco_images=coco_images, sheet=sheet, device=device,
            force=force, progress=progress, log=options.log,
        )  # fmt: skip
    click.echo(path)
