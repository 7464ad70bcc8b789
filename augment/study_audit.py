"""Leakage and provenance of a study: checks before, between and after its trials. One that fails stops the study.

audit_plan       what arms, sets, generators and judges are going to see (augment.layout_audit)
audit_data       a data set, before anything is made of it
audit_set        a synthetic set, before the first trial that trains on it
audit_results    the trials' results, before they are compared (augment.results_audit)
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from augment import agreement, audit, files, integrity, store
from augment.audit import Check, checked
from augment.data import keypoints, search
from augment.data.images import glance
from augment.data.read import survey
from augment.data.records import DISTRACTOR, DataSet
from augment.data.subsets import origin
from augment.data.survey import Survey, some
from augment.integrity import NotCheckedError, Subject
from augment.layout_audit import audit_plan
from augment.results_audit import audit_results
from reid.consistency import FOLDS, doubt

RANDOM = "control"  # the role of the random subset that a filter leaves beside its selection

__all__ = ["Check", "audit_data", "audit_plan", "audit_results", "audit_set"]


def audit_data(data: Path) -> list[Check]:
    """A root or a manifest: splits, images, key points, pair lists."""
    of = f"data {_short(data)}"
    try:
        surveyed = survey(data)
    except (ValueError, OSError) as error:
        return [Check(f"{of}: layout", False, str(error))]
    dataset = surveyed.dataset
    texts = list(_texts(dataset, data))
    checks = [
        checked(f"{of}: layout", lambda: _layout(surveyed)),
        checked(f"{of}: identities", lambda: _identities(dataset)),
        checked(f"{of}: copies", lambda: _copies(dataset)),
        checked(f"{of}: queries", lambda: _queries(dataset)),
        checked(f"{of}: junk and distractors", lambda: _nobody(surveyed)),
        checked(f"{of}: images", lambda: _images(dataset)),
        checked(f"{of}: key points", lambda: _key_points(dataset, texts)),
        checked(f"{of}: pair lists", lambda: _pair_lists(dataset, texts)),
    ]
    return checks + ([checked(f"{of}: subset", lambda: str(origin(dataset)))] if _is_subset(dataset) else [])


def audit_set(synthetic: Path, data: Path, judges: Path | None = None) -> list[Check]:
    """A set that re-ID networks are to be trained on beside `data`; `judges`, if any, are to have chosen its images."""
    of = f"set {_short(synthetic)}"
    subject = Subject(synthetic)
    complete = checked(f"{of}: complete", lambda: _complete(subject))
    if not complete.passed:  # whatever else is said of it would be said of something else
        return [complete]
    try:
        opened = agreement.open_data(data)
    except (ValueError, OSError) as error:
        return [complete, Check(f"{of}: data", False, str(error))]
    said = store.Reader(synthetic).attributes
    checks = [
        complete,
        checked(f"{of}: data", lambda: agreement.same_data(subject, opened)),
        checked(f"{of}: sources", lambda: f"{agreement.sources(subject, opened)}, all of training"),
        checked(f"{of}: target poses", lambda: _poses(subject, opened)),
        checked(f"{of}: test identities", lambda: _no_leak(subject, opened)),
        checked(f"{of}: generator", lambda: _generators(said, opened.dataset)),
        checked(f"{of}: scores", lambda: _cross_fitted(said, opened.dataset)),
    ]
    return checks if judges is None else [*checks, checked(f"{of}: judges", lambda: _judged_by(said, judges))]


# Data


def _layout(surveyed: Survey) -> str:
    dataset = surveyed.usable()
    counts = f"{len(dataset.train):,} training, {len(dataset.query):,} query, {len(dataset.gallery):,} gallery images"
    return f"{dataset.title}: {counts}"


def _identities(dataset: DataSet) -> str:
    audit.require_disjoint(dataset)
    train = {record.pid for record in dataset.train}
    test = {record.pid for record in (*dataset.query, *dataset.gallery)} - {DISTRACTOR}
    return f"{len(train):,} training and {len(test):,} test identities, none in both"


def _copies(dataset: DataSet) -> str:
    found = [f"{ours.name} is {theirs.name}" for ours, theirs in audit.copied_images(dataset)]
    if found:
        raise ValueError(
            f"{dataset.root}: {len(found)} training images are in query or gallery under other names ({some(found)}); "
            "remove them from one of the splits"
        )
    return f"none of {len(dataset.train):,} training images is in query or gallery under another name"


def _queries(dataset: DataSet) -> str:
    lost = search.unmatched(dataset)
    if len(lost) == len(dataset.query):
        raise ValueError(
            f"{dataset.root}: none of its {len(dataset.query)} queries has a match in the gallery, so there is nothing "
            "to evaluate"
        )
    without = f"{len(lost):,} have no match and are not scored in any arm" if lost else "each has a match"
    return f"{len(dataset.query):,} queries, {without}"


def _nobody(surveyed: Survey) -> str:
    """Distractors stand in the gallery only, and people beside them."""
    dataset = surveyed.dataset
    if wrong := [r.name for r in (*dataset.train, *dataset.query) if r.pid == DISTRACTOR]:
        raise ValueError(f"{dataset.root}: {len(wrong)} images of nobody are trained on or searched for: {some(wrong)}")
    distractors = sum(record.pid == DISTRACTOR for record in dataset.gallery)
    if dataset.gallery and distractors == len(dataset.gallery):
        raise ValueError(f"{dataset.root}: all {distractors:,} gallery images are distractors; number people from 1")
    junk = sum(surveyed.junk.values())
    return f"{distractors:,} distractors, in the gallery only; {junk:,} junk images, left out"


def _images(dataset: DataSet) -> str:
    """Headers and ends only: `augment check --deep` decodes."""
    records = (*dataset.train, *dataset.query, *dataset.gallery)
    sizes = {glance(record.path) for record in records}
    return (
        f"{len(records):,} images of {len(sizes)} {'size' if len(sizes) == 1 else 'sizes'} have whole headers and ends"
    )


def _texts(dataset: DataSet, data: Path) -> Iterator[tuple[Path, str]]:
    """The CSV files that lie in a root, and the first line of each."""
    folders = dict.fromkeys((data if data.is_dir() else data.parent, dataset.root))
    for path in dict.fromkeys(path for folder in folders for path in sorted(folder.glob("*.csv"))):
        with path.open(encoding="utf-8", errors="replace") as file:
            yield path, file.readline().strip().replace(" ", "")


def _key_points(dataset: DataSet, texts: Iterable[tuple[Path, str]]) -> str:
    """Each file is on images of the split that it is called after."""
    found = []
    for path, header in texts:
        if header != keypoints.HEADER:
            continue
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        names = {line.partition(":")[0].strip() for line in lines if line.strip()}
        wrong = names & _other_split(path, dataset)
        if wrong:
            raise ValueError(
                f"{path.name}: {len(wrong):,} of its {len(names):,} key points are of {_other(path)} images "
                f"({some(sorted(wrong), most=2)}); put them into the file of their split"
            )
        found.append(f"{len(names):,} in {path.name}")
    return f"key points of {some(found)}, each file on its own split" if found else "no file of key points lies there"


def _pair_lists(dataset: DataSet, texts: Iterable[tuple[Path, str]]) -> str:
    """Pairs to train on are not those of the test annotation, which a widely copied script makes them of."""
    found = []
    for path, header in texts:
        columns = header.split(",")
        if not {"from", "to"} <= set(columns):
            continue
        with path.open(newline="", encoding="utf-8") as file:
            pairs = [(row.get("from"), row.get("to")) for row in csv.DictReader(file)]
        other = _other_split(path, dataset)
        wrong = sum(source in other or target in other for source, target in pairs)
        if wrong:
            raise ValueError(
                f"{path.name}: {wrong:,} of its {len(pairs):,} pairs are of {_other(path)} images, as if it were made "
                "of the other split's annotation; make it anew, or remove it"
            )
        found.append(f"{len(pairs):,} in {path.name}")
    return f"pairs: {some(found)}, each list of its own split" if found else "no list of pairs lies there"


def _is_test(path: Path) -> bool:
    """A list that is called neither test nor train might be trained on."""
    return "test" in path.name.lower()


def _other(path: Path) -> str:
    return "training" if _is_test(path) else "query or gallery"


def _other_split(path: Path, dataset: DataSet) -> set[str]:
    """Names that a file which is called after a split must not hold."""
    records = dataset.train if _is_test(path) else (*dataset.query, *dataset.gallery)
    return {record.name for record in records}


def _is_subset(dataset: DataSet) -> bool:
    try:
        return origin(dataset) is not None
    except ValueError:
        return True


# Sets


def _complete(subject: Subject) -> str:
    if subject.is_shard:
        raise ValueError(f"{subject.path}: one part of an unfinished set; run `augment synthesize` to its end")
    said = integrity.structure(subject)
    integrity.whole(subject)
    integrity.planned(subject)
    return f"{integrity.selected(subject) or said}, whole"


def _poses(subject: Subject, data: agreement.Data) -> str:
    try:
        return f"{agreement.poses(subject, data)}, all of training images or of nobody"
    except NotCheckedError as error:
        return f"not compared: {error}"


def _no_leak(subject: Subject, data: agreement.Data) -> str:
    audit.require_no_test_identities(str(subject.path), subject.attributes)
    return f"{agreement.no_leak(subject, data)} of query and gallery is a source or a target"


def _generators(said: Mapping[str, Any], dataset: DataSet) -> str:
    """What the generators of a set, and of the sets that it was merged from, have seen."""
    parts = said.get("parts") or [said]
    return "; ".join(dict.fromkeys(_generator(part["generator"], part["config"], dataset) for part in parts))


def _generator(generator: Mapping[str, Any], config: Mapping[str, Any], dataset: DataSet) -> str:
    model, (first, *earlier) = str(generator.get("model")), _seen(generator)
    whole = origin(dataset)
    if whole is not None and whole.portion < 1 and whole.data_digest in (first, *earlier):
        raise ValueError(
            f"the generator {model} has seen all {whole.of_images:,} images, but this data keeps {whole.images:,} of "
            "them; train one on the subset"
        )
    if first is None and generator.get("weights_sha256") is None:
        imported = generator.get("preset") == "imported"
        return f"{model} was imported, so what it has seen is not known" if imported else f"{model} needs no training"
    other = any(digest != dataset.digest for digest in earlier)
    started = ", starting from weights that have seen other data" if other else ""
    if first == dataset.digest:
        return f"{model} was trained on these {len(dataset.train):,} training images{started}"
    if not config.get("foreign_generator"):
        raise ValueError(f"the generator {model} has seen other data, which the set does not admit; train it on this")
    return f"{model} has seen other data (--foreign-generator){started}"


def _seen(weights: Mapping[str, Any] | None) -> list[str | None]:
    """Digests of what weights were trained on, and of what those that they started from were."""
    return [weights.get("trained_on"), *_seen(weights.get("initialised_from"))] if weights else []


def _cross_fitted(said: Mapping[str, Any], dataset: DataSet) -> str:
    """Scores that images were chosen by are of `augment score`, whose judges have not seen the identity."""
    parts = [said, *said.get("parts", ())]
    scores = {
        name: made for part in parts for name, made in ((part.get("selection") or {}).get("scores") or {}).items()
    }
    for name, made in scores.items():
        if "definition" not in made:
            raise ValueError(f"{name}: does not say how it was made; score the set with `augment score`")
        if "reid" not in made:
            continue
        if len(set(made["reid"].get("networks_sha256", ()))) != FOLDS or len(made.get("judges") or ()) != FOLDS:
            raise ValueError(f"{name}: not by {FOLDS} cross-fitted networks; score the set with `augment score`")
        if made.get("data_digest") != dataset.digest:
            raise ValueError(f"{name}: its judges were trained on other data; score the set beside this data")
    if not scores:
        return "not chosen by any score"
    random = (said.get("selection") or {}).get("role") == RANDOM
    chosen = f"{'at random, as many as are ' if random else ''}chosen by {some(scores)}"
    judges = [made["judges"] for made in scores.values() if "reid" in made]
    if not judges:
        return f"{chosen}, which no re-ID network judges"
    doubts = "".join(f"; hardly better than chance: {why}" for why in map(doubt, judges) if why)
    return f"{chosen}; {FOLDS} judges, each for the identities that the other was trained on{doubts}"


def _judged_by(said: Mapping[str, Any], judges: Path) -> str:
    """Another step's scores of the same set may have taken the place of those that the study asks for."""
    expected = {files.sha256(path) for path in judges.glob("fold-*.safetensors")}
    scores = (said.get("selection") or {}).get("scores") or {}
    judged = {name: made["reid"] for name, made in scores.items() if "reid" in made}
    if wrong := [name for name, reid in judged.items() if set(reid.get("networks_sha256", ())) != expected]:
        raise ValueError(
            f"{some(wrong)}: by other networks than those in {_short(judges)}, so something else has scored the set; "
            "choose another --units, or remove the units of that set"
        )
    return f"{some(judged)}: by the networks in {_short(judges)}" if judged else "not chosen by scores of identity"


def _short(path: Path) -> str:
    """Enough of a path to tell the units of a study apart."""
    return "/".join(path.parts[-2:])
