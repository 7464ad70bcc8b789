"""`augment import-checkpoint`: use a generator that its authors trained."""

from pathlib import Path

import click

from augment.commands import options


@click.command("import-checkpoint")
@click.argument("file", type=options.existing())
@click.option(
    "--model", required=True, type=click.Choice(["patn", "dptn", "dptn-ta"]), help="Whose generator FILE holds."
)
@options.out("Run folder: the weights as this package writes them.")
@click.option(
    "--heads",
    type=click.IntRange(1),
    metavar="N",
    help="Attention heads of DPTN, which FILE does not tell. [default: 2, as published]",
)
@click.option(
    "--preset",
    type=click.Choice(["market", "deepfashion"]),
    help="Refuse any network but this published one. [default: take whatever size FILE holds]",
)
@options.force
@options.config
@options.dry_run
def command(
    file: Path, model: str, out: Path, heads: int | None, preset: str | None, force: bool, dry_run: bool
) -> None:
    """Turn FILE, a state dict saved by the code of PATN's or DPTN's authors (.pth or .safetensors), into a generator.

    The data it was trained on is not known, so synthesize asks for --foreign-generator, and train-generator with
    --init for --foreign-init.

    \b
    Example:
      augment import-checkpoint latest_net_G.pth --model dptn --out runs/published
      augment synthesize data --generator runs/published --foreign-generator --out synthetic.h5
    """
    from augment.import_checkpoint import ImportCheckpointConfig, prepare, run

    config = ImportCheckpointConfig(model, heads, preset)
    if dry_run:
        click.echo(prepare(config, file))
        return
    click.echo(run(config, file, out, force=force, log=options.log))
