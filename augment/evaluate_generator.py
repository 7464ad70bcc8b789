"""Stage: how good generated images are, by the metrics of the field, each with its protocol, interval and floor.

What is compared is a generator's images of test pairs, a synthetic set, or a folder (augment.image_pairs and
augment.image_folders). A metric whose weights, package or images are missing is not computed and says so; the others
are.

OUT (.json)    values, intervals over identities, floors of real images; what was not computed, and for which of it a
               network is missing; the sheet's SHA-256; the provenance
SHEET (.png)   the best, median and worst images by some metrics
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from augment import audit, files, image_measuring, image_options, runs
from augment.cross_fitting import Bar, silent
from augment.image_entries import Measured, TooFew, entry, few_people
from augment.image_metrics import METRICS, networks_of, too_small
from augment.image_networks import Asked, Networks, open_networks
from augment.image_sheet import RANKED_BY, write_sheet
from augment.image_subjects import EvaluateGeneratorConfig, Log, Subject, of_a_generator, of_images

SHEET = "sheet_sha256"  # in the results: of the sheet that was drawn with them


@dataclass(frozen=True)
class Job:
    """What is to be measured, by which networks, and why some metrics cannot be computed."""

    config: EvaluateGeneratorConfig
    subject: Subject
    networks: Networks
    without: Mapping[str, str]
    found: dict[str, Any] | None = None  # by an earlier run

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name in self.config.wanted if name not in self.without)

    @property
    def not_computed(self) -> dict[str, str]:
        return {name: self.without[name] for name in self.config.wanted if name in self.without}

    @property
    def without_network(self) -> list[str]:
        """Those of them that lack nothing but weights or a package."""
        missing = self.networks.missing
        return [name for name, why in self.not_computed.items() if why == missing.get(METRICS[name].network)]

    @property
    def provenance(self) -> dict[str, Any]:
        """All that the results come from."""
        compared = self.subject.compared
        said = {
            "config": asdict(self.config),
            **self.subject.provenance,
            "compared": compared.says,
            "size": list(compared.size),
            "networks": self.networks.provenance,
        }
        return json.loads(files.json_bytes(said))

    def __str__(self) -> str:
        compared = self.subject.compared
        what = compared.says.get("pairs", compared.says.get("images", "images"))
        height, width = compared.size
        lines = [
            f"{what}: {len(compared):,} images of {height}x{width}, {int(compared.paired.sum()):,} with a true one",
            *(f"{name:<20}  {METRICS[name].protocol}" for name in self.config.wanted if name in self.names),
            *(f"{name:<20}  cannot be computed: {why}" for name, why in self.not_computed.items()),
            *([] if self.found is None else ["already done"]),
        ]
        return "\n".join(lines)


def prepare(
    config: EvaluateGeneratorConfig,
    data: Path,
    *,
    generator: Path | None = None,
    images: Path | None = None,
    pairs: Path | None = None,
    poses: Path | None = None,
    panel: str | None = None,
    asked: Asked | None = None,
    out: Path | None = None,
    sheet: Path | None = None,
    device: str = "auto",
    force: bool = False,
    log: Log = lambda line: None,
) -> Job:
    """Find what is to be compared and open the networks; images are read only as far as their headers.

    Raises:
        ValueError: bad data, weights or pairs; a generator that may have seen the test identities; `out` holds results
            of something else.
    """
    if (generator is None) == (images is None):
        raise ValueError("--generator: give a generator, or a synthetic set or a folder as --images, and not both")
    asked = asked or Asked()
    image_options.require_used(asked, config.wanted)
    image_options.require_writable(out, sheet, [data, *([] if images is None else [images])])
    if generator is not None:
        if panel is not None:
            raise ValueError(f"--panel {panel}: only a folder of images has panels; leave it out")
        subject = of_a_generator(config, generator, data, pairs, poses, device, log)
    else:
        assert images is not None
        subject = of_images(config, images, data, pairs, poses, panel, log)
    job = _job(config, subject, asked, device)
    if out is None or force or not out.exists():
        return job
    found = _same(out, job)
    if sheet is not None and not (sheet.is_file() and files.sha256(sheet) == found.get(SHEET)):
        held = f"is not the sheet of {out}" if sheet.exists() else f"shows images, of which {out} holds none"
        log(f"measuring again: {sheet} {held}")
        return job
    return replace(job, found=found)


def run(
    config: EvaluateGeneratorConfig,
    data: Path,
    *,
    generator: Path | None = None,
    images: Path | None = None,
    pairs: Path | None = None,
    poses: Path | None = None,
    panel: str | None = None,
    asked: Asked | None = None,
    out: Path | None = None,
    sheet: Path | None = None,
    device: str = "auto",
    force: bool = False,
    bar: Bar = silent,
    log: Log = lambda line: None,
) -> dict[str, Any]:
    """Measure a generator (a run folder, weights, copy, warp) or images (X.h5, a folder): the results.

    Raises:
        ValueError: see `prepare`; or an image that cannot be read.
        OSError: the disk is full.
    """
    job = prepare(
        config, data, generator=generator, images=images, pairs=pairs, poses=poses, panel=panel, asked=asked, out=out,
        sheet=sheet, device=device, force=force, log=log,
    )  # fmt: skip
    if job.found is not None:
        log("already done")
        return job.found
    measured, found = _measured(job, device, bar, log)
    if sheet is not None:
        for line in write_sheet(sheet, measured):
            log(line)
        if found["metrics"].keys() & set(RANKED_BY):
            found[SHEET] = files.sha256(sheet)
    if out is not None:
        files.write_json(out, found)
    return found


def nothing_computed(
    metrics: Collection[str], not_computed: Mapping[str, str], without_network: Collection[str]
) -> str:
    """What to say where no metric has a value for another reason than missing weights or packages; else ""."""
    others = [f"{name}: {why}" for name, why in not_computed.items() if name not in without_network]
    if metrics or not others:
        return ""
    return f"nothing was computed ({others[0]}); give what is lacking, or choose other --metrics"


def measure(
    config: EvaluateGeneratorConfig,
    subject: Subject,
    asked: Asked,
    *,
    device: str = "auto",
    bar: Bar = silent,
    log: Log = lambda line: None,
) -> tuple[Measured, dict[str, Any]]:
    """Measure what is compared, and give both the columns and the results.

    Raises:
        ValueError: an image that cannot be read; a file of weights that is not what it should be.
    """
    return _measured(_job(config, subject, asked, device), device, bar, log)


def _job(config: EvaluateGeneratorConfig, subject: Subject, asked: Asked, device: str) -> Job:
    compared, wanted = subject.compared, config.wanted
    lacking = {name: image_measuring.lacks(name, compared, subject.points) for name in wanted}
    lacking = {name: why or too_small(name, compared.size) for name, why in lacking.items()}
    without = {name: why for name, why in lacking.items() if why is not None}
    networks = open_networks(networks_of(set(wanted) - set(without)), asked, device, subject.dataset)
    without |= {
        name: networks.missing[METRICS[name].network]
        for name in wanted
        if name not in without and METRICS[name].network in networks.missing
    }
    job = Job(config, subject, networks, without)
    image_measuring.require_real_images(job.names, compared)
    return job


def _measured(job: Job, device: str, bar: Bar, log: Log) -> tuple[Measured, dict[str, Any]]:
    config, subject, without = job.config, job.subject, dict(job.without)
    measured = image_measuring.pass_over(
        subject.compared, subject.points, job.names, job.networks, batch=config.batch, seed=config.seed, device=device,
        bar=bar,
    )  # fmt: skip
    metrics: dict[str, Any] = {}
    for name in config.wanted:
        if name in job.names:
            try:
                metrics[name] = entry(name, measured)
            except TooFew as error:
                without[name] = str(error)
    notes = image_measuring.notes(metrics, subject.compared, job.networks, subject.annotations)
    notes += [f"{name}: {said['note']}" for name, said in metrics.items() if "note" in said]
    notes += few_people(metrics)
    for note in notes:
        log(note)
    done = replace(job, without=without)
    found = {
        "schema": 1,
        "metrics": metrics,
        "not_computed": done.not_computed,
        "without_network": done.without_network,
        "provenance": {**job.provenance, "notes": notes, "versions": runs.versions(runs.OF_METRICS)},
    }
    return measured, json.loads(files.json_bytes(found))


def _same(out: Path, job: Job) -> dict[str, Any]:
    """The results in `out`, if they are those of this job; how much is measured at a time does not count.

    Raises:
        ValueError: they are not, or it holds something else.
    """
    found = files.read_json(out)
    remedy = "choose another --out, or --force to measure again"
    try:
        there = _determining(found["provenance"], {*found["metrics"], *found["not_computed"]})
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"--out {out}: holds something else than results of evaluate-generator; {remedy}") from None
    here = _determining(job.provenance, set(job.config.wanted))
    expected = dict.fromkeys(audit.flat(there)) | audit.flat(here)
    audit.require_same(f"--out {out}", there, expected, remedy, problem="holds results of something else")
    return found


def _determining(provenance: Mapping[str, Any], metrics: set[str]) -> dict[str, Any]:
    """What values depend on: names of files and folders do not count, what is in them does."""
    rest = {"config", "notes", "versions", "data", "set"}
    chosen = {key: provenance["config"][key] for key in ("save", "seed")}
    said = {key: value for key, value in provenance.items() if key not in rest}
    return {"metrics": [name for name in METRICS if name in metrics], **chosen, **said}
