"""`augment report`: the page and the tables of a study."""

from pathlib import Path

import click

from augment.commands import options

FORMATS = ("text", "markdown", "latex", "csv")
MOST = 20_000  # thumbnails, of which a page is 100 MB


@click.command("report")
@click.argument("study", type=click.Path(path_type=Path), metavar="DIR")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Where the page goes, and a folder `tables` beside it. [default: DIR/report.html]",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(FORMATS),
    help="Print the tables in this form instead of the result in a sentence.",
)  # fmt: skip
@click.option(
    "--thumbnails", default=600, show_default=True, type=click.IntRange(0, MOST), metavar="N",
    help="Images on the page, at most: half of them queries, the others generated.",
)  # fmt: skip
@click.pass_context
def command(context: click.Context, study: Path, out: Path | None, form: str | None, thumbnails: int) -> None:
    """Write the report of the study in DIR, which `augment ablate` made, as far as the study is done.

    One HTML page that loads nothing else: result, tables, plots, images, checks and provenance. The tables lie beside
    it as CSV, Markdown and LaTeX. Prints the path of the page and the result in a sentence; where a check of leakage
    or provenance has failed, that stands in place of a result, and the exit code is 1.

    \b
    Example:
      augment report ablation
      augment report ablation --format latex
    """
    from augment.report_tables import render
    from augment.study_report import run

    written = run(study, out, thumbnails)
    if form is None:
        click.echo(written.page)
        click.echo(written.headline)
    else:
        options.log(f"{written.page}")
        if not written.passed:
            options.log(written.headline)
        click.echo(render(written.tables, form))
    if not written.passed:
        context.exit(1)
