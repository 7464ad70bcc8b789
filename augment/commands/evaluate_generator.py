"""`augment evaluate-generator`: the field's metrics of generated images."""

import json
from pathlib import Path

import click

from augment.commands import options
from augment.commands.make_data import Size

METRICS = (
    "ssim", "ssim_standard", "ssim_pg2", "mask_ssim", "ssim_in_mask", "psnr", "l1", "lpips", "fid", "fid_gfla", "kid",
    "inception_score", "mask_is", "pckh", "detection_score", "identity_similarity", "pose_diversity", "pose_coverage",
)  # fmt: skip


@click.command("evaluate-generator")
@options.DATA
# Of what
@click.option(
    "--generator", type=click.Path(path_type=Path), metavar="RUN",
    help="Run folder or weights file of a generator; copy or warp need no training.",
)  # fmt: skip
@click.option(
    "--images", type=options.existing("any"), metavar="X.h5|FOLDER",
    help="Instead: a synthetic set made from DATA; or a folder of images, whose real ones are the images of the folder "
    "DATA (those of one name are a pair), or the test images of a data set that their names tell (SOURCE___TARGET_vis, "
    "SOURCE_2_TARGET_vis).",
)  # fmt: skip
@click.option(
    "--panel", metavar="PLACE/COUNT",
    help="Which of the pictures side by side in each file of that folder is generated; 5/5 in PATN's results.",
)  # fmt: skip
@click.option(
    "--pairs", type=options.existing(), metavar="CSV",
    help="Test pairs in PATN's format. [default: DATA's own; else random ones]",
)  # fmt: skip
@click.option("--count", type=click.IntRange(1), metavar="N", help="At most so many pairs. [default: all, or 1000]")
@click.option("--same-camera", is_flag=True, help="Random pairs within a camera, also where DATA lists pairs.")
@options.poses
@click.option(
    "--foreign-generator", is_flag=True,
    help="Accept a generator trained on other data that never saw this data's test identities.",
)  # fmt: skip
@click.option(
    "--save", default="lossless", show_default=True, type=click.Choice(["lossless", "jpeg"]),
    help="What saving does to an image before it is measured; jpeg, with fractions cut off, is the papers'.",
)  # fmt: skip
# What
@click.option(
    "--metrics", multiple=True, type=click.Choice(METRICS), metavar="NAME",
    help="Metrics; may be repeated. [default: all that can be computed]",
)  # fmt: skip
@click.option(
    "--require", multiple=True, type=click.Choice(METRICS), metavar="NAME",
    help="Exit code 1 where this one is not computed; may be repeated.",
)  # fmt: skip
# By what
@click.option(
    "--weights", multiple=True, metavar="KEY=VALUE",
    help="A file of weights: alexnet=FILE, inception=FILE, inception-torchvision=FILE. [default: in torch's cache]",
)  # fmt: skip
@click.option(
    "--estimator", default="rtmpose", show_default=True, type=click.Choice(["rtmpose", "keypointrcnn"]),
    help="Of poses: the one that DATA's key points come from.",
)  # fmt: skip
@click.option(
    "--pose-weights", type=options.existing(), metavar="FILE", help="Its weights. [default: in torch's cache]"
)
@click.option(
    "--reid", type=options.existing("any"), metavar="RUN|FILE",
    help="A train-reid run, or a file of torchreid's (with --reid-model), for identity_similarity.",
)  # fmt: skip
@click.option("--reid-model", metavar="NAME", help="torchreid's name of the network that a .pth is of.")
@click.option("--reid-size", type=Size(), help="Input size in pixels that a .pth was trained with. [default: 256x128]")
# Output
@click.option(
    "--format", "form", default="table", show_default=True,
    type=click.Choice(["table", "markdown", "latex", "json"]), help="Of what is printed.",
)  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="JSON", help="Write the results.")
@click.option(
    "--sheet", type=click.Path(dir_okay=False, path_type=Path), metavar="PNG",
    help="Draw the best, median and worst images.",
)  # fmt: skip
@click.option("--batch", default=64, show_default=True, type=click.IntRange(1), metavar="N", help="Images at a time.")
@options.seed
@options.device
@click.option("--force", is_flag=True, help="Measure again what --out holds.")
@options.dry_run
@options.config
@click.pass_context
def command(
    ctx: click.Context, data: Path, generator: Path | None, images: Path | None, panel: str | None, pairs: Path | None,
    count: int | None, same_camera: bool, poses: Path | None, foreign_generator: bool, save: str,
    metrics: tuple[str, ...], require: tuple[str, ...], weights: tuple[str, ...], estimator: str,
    pose_weights: Path | None, reid: Path | None, reid_model: str | None, reid_size: tuple[int, int] | None, form: str,
    out: Path | None, sheet: Path | None, batch: int, seed: int, device: str, force: bool, dry_run: bool,
) -> None:  # fmt: skip
    """Measure the images of a generator on pairs of test images, of a synthetic set, or of a folder.

    Every value has its protocol, a 95 % interval over identities where there is one, and what real images reach.
    fid falls with the number of images, so compare it at equal numbers only. What lacks weights or a package is not
    computed, and says why; nothing is ever downloaded. Running the command again with the same --out says "already
    done", or what differs.

    \b
    Example, a generator on pairs of people that it has not seen:
      augment evaluate-generator data --generator runs/dptn --sheet best-and-worst.png

    \b
    Example, a synthetic set, and two folders whose images are paired by name:
      augment evaluate-generator data --images synthetic.h5
      augment evaluate-generator real-images --images generated-images --metrics ssim --metrics l1

    \b
    Example, as the papers save and count, and the results of their own test scripts:
      augment evaluate-generator Market-1501 --generator runs/dptn --save jpeg --format latex
      augment evaluate-generator Market-1501 --images results/market_PATN/test_latest/images --panel 5/5
    """
    from augment.evaluate_generator import nothing_computed, prepare, run
    from augment.image_networks import Asked
    from augment.image_subjects import EvaluateGeneratorConfig
    from augment.metric_tables import render

    config = EvaluateGeneratorConfig(
        metrics, require, count, same_camera, save, foreign_generator, batch, seed
    )  # fmt: skip
    files = {name: Path(str(path)) for name, path in options.settings("--weights", weights).items()}
    asked = Asked(files, estimator, pose_weights, reid, reid_model, reid_size)
    if dry_run:
        job = prepare(
            config, data, generator=generator, images=images, pairs=pairs, poses=poses, panel=panel, asked=asked,
            out=out, sheet=sheet, device=device, force=force, log=options.log,
        )  # fmt: skip
        click.echo(job)
        not_computed = job.not_computed
        nothing = nothing_computed(job.names, not_computed, job.without_network)
    else:
        found = run(
            config, data, generator=generator, images=images, pairs=pairs, poses=poses, panel=panel, asked=asked,
            out=out, sheet=sheet, device=device, force=force, bar=options.progress_bar, log=options.log,
        )  # fmt: skip
        click.echo(json.dumps(found, indent=2) if form == "json" else render(found, form))
        not_computed = found["not_computed"]
        nothing = nothing_computed(found["metrics"], not_computed, found.get("without_network", not_computed))
    lacking = [name for name in require if name in not_computed]
    for name in lacking:
        options.log(f"--require {name}: not computed: {not_computed[name]}")
    if nothing:
        options.log(nothing)
    ctx.exit(1 if lacking or nothing else 0)
