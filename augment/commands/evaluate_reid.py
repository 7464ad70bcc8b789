"""`augment evaluate-reid`: rank a gallery with a trained network."""

import json
from pathlib import Path

import click

from augment.commands import options
from augment.commands.make_data import Size


@click.command("evaluate-reid")
@options.DATA
@click.option(
    "--checkpoint", required=True, type=options.existing("any"), metavar="RUN|FILE",
    help="A train-reid run, its checkpoint.safetensors, or a file of torchreid's (.pth, with --model).",
)  # fmt: skip
@click.option("--model", metavar="NAME", help="torchreid's name of the network that a .pth is of.")
@click.option("--size", type=Size(), help="Input size in pixels that a .pth was trained with. [default: 256x128]")
# How to rank
@click.option(
    "--metric", default="euclidean", show_default=True, type=click.Choice(["euclidean", "cosine"]),
    help="Distance of features.",
)  # fmt: skip
@click.option("--rerank", is_flag=True, help="Also k-reciprocal re-ranking, as a column of its own.")
@click.option("--nfc", is_flag=True, help="Also features centralised over their neighbours, as a column of its own.")
# What to write
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Results as JSON, each query's with them.")
@click.option(
    "--features", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.npz",
    help="Write features, names, identities and cameras.",
)  # fmt: skip
@click.option("--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Queries and what they find (PNG).")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON instead of a table.")
@options.device
@options.config
def command(
    data: Path, checkpoint: Path, model: str | None, size: tuple[int, int] | None, metric: str, rerank: bool, nfc: bool,
    out: Path | None, features: Path | None, sheet: Path | None, as_json: bool, device: str,
) -> None:  # fmt: skip
    """Evaluate a re-ID network on query and gallery of DATA, which may be another set than it was trained on.

    Re-ranking and centralisation look at the whole gallery at once: other protocols, so columns of their own.

    \b
    Example:
      augment evaluate-reid data --checkpoint runs/mixed --rerank --nfc --sheet ranked.png
    """
    from augment.evaluate_reid import EvaluateReidConfig, run, table

    height, width = size or (None, None)
    config = EvaluateReidConfig(metric, rerank, nfc, model, height, width)
    found = run(
        config, data, checkpoint, out=out, features=features, sheet=sheet, device=device, log=options.log
    )  # fmt: skip
    click.echo(json.dumps(found, indent=2) if as_json else table(found))
