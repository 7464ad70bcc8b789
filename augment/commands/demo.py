"""`augment demo`: the whole chain in one command."""

from pathlib import Path

import click

from augment.commands import options


@click.command("demo")
@click.option(
    "--out", default="demo", show_default=True, type=click.Path(path_type=Path), help="Folder for everything it makes."
)
@click.option("--quick", is_flag=True, help="Within two minutes: fewer people, shorter training.")
@click.option(
    "--from-scratch", is_flag=True, help="Train the generator from noise instead of the shipped weights (over an hour)."
)
@options.common
def command(out: Path, quick: bool, from_scratch: bool, seed: int, device: str, force: bool) -> None:
    """Draw pedestrians, train a generator, synthesize, train re-ID with and without, report: about ten minutes.

    Running the command again continues it, or says "already done".

    \b
    Example:
      augment demo --out demo
      augment demo --out demo-quick --quick
    """
    from dataclasses import replace

    from augment.demo import QUICK, DemoConfig, run

    config = replace(QUICK if quick else DemoConfig(), from_scratch=from_scratch, seed=seed)
    page, table = run(config, out, device=device, force=force, bar=options.progress_bar, log=options.log)
    click.echo(table)
    click.echo(page)
