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
@click.option(
    "--size",
    type=Size(),
    help="Input size in pixels that a .pth was trained with. [default: the model's only one, or 256x128]",
)
# How to rank
@click.option(
    "--metric", type=click.Choice(["euclidean", "cosine"]),
    help="Distance of features. [default: that of RUN, else euclidean]",
)  # fmt: skip
@click.option("--rerank", is_flag=True, help="Also k-reciprocal re-ranking, as a column of its own.")
@click.option("--nfc", is_flag=True, help="Also features centralised over their neighbours, as a column of its own.")
# What to say
@click.option(
    "--by", multiple=True, type=click.Choice(["camera", "camera-pair", "view"]),
    help="Also a table by the query's camera, by pair of cameras, or by the side of the body that it shows.",
)  # fmt: skip
@click.option(
    "--annotation", type=options.existing(), help="Key points in PATN's CSV format, in place of DATA's (for views)."
)
@click.option(
    "--synthetic", multiple=True, type=options.existing("any"), metavar="X.h5",
    help="Show and count its images among what queries find; no score ever includes them.",
)  # fmt: skip
# What to write
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.json",
    help="Results as JSON, each query's with them.",
)  # fmt: skip
@click.option(
    "--features", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.{h5,npz}",
    help="Write features, names, identities and cameras.",
)  # fmt: skip
@click.option(
    "--sheet", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.{png,jpg}",
    help="Draw queries and what they find.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON instead of a table.")
# Machine
@click.option(
    "--workers", default=0, show_default=True, type=click.IntRange(0),
    help="Loader processes; the result does not depend on it.",
)  # fmt: skip
@options.device
@options.config
def command(
    data: Path, checkpoint: Path, model: str | None, size: tuple[int, int] | None, metric: str | None, rerank: bool,
    nfc: bool, by: tuple[str, ...], annotation: Path | None, synthetic: tuple[Path, ...], out: Path | None,
    features: Path | None, sheet: Path | None, as_json: bool, workers: int, device: str,
) -> None:  # fmt: skip
    """Evaluate a re-ID network on query and gallery of DATA, which may be another set than it was trained on.

    Re-ranking and centralisation look at the whole gallery at once: other protocols, so columns of their own.

    \b
    Example:
      augment evaluate-reid data --checkpoint runs/mixed --rerank --nfc --by camera --by view
      augment evaluate-reid data --checkpoint runs/mixed --synthetic synthetic.h5 --sheet ranked.png
    """
    from augment.evaluate_reid import EvaluateReidConfig, run
    from augment.evaluation_table import table
    from reid.networks import require_size

    height, width = size or (None, None)
    if model is not None and size is not None:
        try:
            require_size(model, *size)
        except ValueError as error:
            raise ValueError(f"--{error}") from None
    config = EvaluateReidConfig(metric, rerank, nfc, model, height, width)
    found = run(
        config, data, checkpoint, out=out, features=features, sheet=sheet, synthetic=synthetic, annotation=annotation,
        by=by, complete=as_json, device=device, workers=workers, log=options.log,
    )  # fmt: skip
    click.echo(json.dumps(found, indent=2) if as_json else table(found, by))
