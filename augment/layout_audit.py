"""What can be said of a study before anything is made: what its arms, sets, generators and judges see, and which seeds.

Steps rather than files are looked at here; what came of them is looked at in augment.study_audit.
"""

import shlex
from collections.abc import Iterator, Sequence

from augment.audit import Check, checked
from augment.data.survey import some
from augment.study import GIVEN, REID, Arm, Contrast, Control, Layout, Made, Step, Study

DATA_STEPS = (GIVEN, "make-data", "subset")
FOREIGN = ("--foreign-init", "--foreign-generator")
FULL = "regime G-full: the generator has seen the withheld images"
SUBSET = "regime G-subset: no stage sees a withheld image"


def audit_plan(layout: Layout) -> list[Check]:
    """The checks that need no file."""
    study = layout.study
    return [
        checked("plan: seeds", lambda: _seeds(layout)),
        checked("plan: test data", lambda: _test_data(study)),
        checked("plan: data of sets", lambda: _data_of_sets(study)),
        checked("plan: regimes", lambda: _regimes(study)),
        checked("plan: withheld images", lambda: _withheld_images(study)),
        checked("plan: controls", lambda: _controls(study)),
        checked("plan: scorers", lambda: _scorers(study)),
        checked("plan: test identities", lambda: _test_identities(layout)),
        checked("plan: foreign weights", lambda: _foreign(layout)),
    ]


def _seeds(layout: Layout) -> str:
    """Every arm has a trial of its own for every seed, and no contrast compares a trial with itself."""
    for arm in layout.study.arms:
        if missing := [seed for seed in layout.seeds if (arm.name, seed) not in layout.trials]:
            raise ValueError(f"arm {arm.name!r}: no trial of seed {some(missing)}, so its differences are not paired")
        for seed in layout.seeds:
            unit = layout.units[layout.trials[arm.name, seed]]
            if _option(unit.argv, "--seed") != str(seed):
                raise ValueError(
                    f"arm {arm.name!r}: its trial {unit.name} of seed {seed} is not run with --seed {seed}"
                )
    for contrast in _contrasts(layout.study):
        if any(layout.trials[contrast.arm, seed] == layout.trials[contrast.against, seed] for seed in layout.seeds):
            raise ValueError(f"{_versus(contrast)}: both are the same trials; give the arms different options")
    numbers = ", ".join(map(str, layout.seeds))
    return f"{len(layout.seeds)} seeds ({numbers}) in each of {len(layout.study.arms)} arms, so differences are paired"


def _test_data(study: Study) -> str:
    """All arms search the same gallery for the same queries."""
    first, *others = study.arms
    wanted = _searched(study, first)
    for arm in others:
        if (found := _searched(study, arm)) != wanted:
            raise ValueError(
                f"arm {arm.name!r} is evaluated on {found[1] or _named(found[0])}, but arm {first.name!r} on "
                f"{wanted[1] or _named(wanted[0])}; results of different queries cannot be compared"
            )
    return f"all {len(study.arms)} arms are evaluated on query and gallery of {wanted[1] or _named(wanted[0])}"


def _data_of_sets(study: Study) -> str:
    """Sets show what their arm trains on, and generators have seen no more of it."""
    count = 0
    for arm in study.arms:
        for made in arm.sets:
            synthesis = _synthesis(made, arm)
            own = _data(synthesis.inputs[0])
            if own != arm.data:
                raise ValueError(
                    f"arm {arm.name!r} trains on {_named(arm.data)}, but its set shows images of {_named(own)}; "
                    "synthesize from what the arm trains on"
                )
            for generator in synthesis.inputs[1:]:
                _require_known(generator, synthesis, arm)
            count += 1
    arms = sum(bool(arm.sets) for arm in study.arms)
    return f"the {count} sets of {arms} arms show training images of the data that their arm trains on"


def _require_known(generator: Made, synthesis: Step, arm: Arm) -> None:
    """A generator has seen the set's data, or a part of it or other data, and then is named foreign."""
    own, seen = _data(synthesis.inputs[0]), _data(_step(generator).inputs[0])
    if seen == own:
        return
    if _root(seen) == _root(own) and own not in _whole(seen):
        raise ValueError(
            f"arm {arm.name!r}: its generator was trained on {_named(seen)}, but the set is of {_named(own)}, which "
            "withholds images of it; for the regime G-full give the arm all data and --portion"
        )
    if "--foreign-generator" not in synthesis.words:
        raise ValueError(
            f"arm {arm.name!r}: its generator was trained on {_named(seen)}, but the set is of {_named(own)}; train it "
            "on that, or say --foreign-generator if it never saw the test identities"
        )


def _regimes(study: Study) -> str:
    """Where real images are scarce, whether the generator knows the others."""
    found: dict[str, list[str]] = {FULL: [], SUBSET: []}
    for arm in filter(lambda arm: arm.sets, study.arms):
        if _portion(study, arm) < 1:
            found[FULL].append(arm.name)
        elif (_withheld(study, arm) or (1.0,))[0] < 1:
            found[SUBSET].append(arm.name)
    said = [f"{regime} (arms {some(map(repr, names), most=len(names))})" for regime, names in found.items() if names]
    return "; ".join(said) or "no arm with a synthetic set withholds real images"


def _withheld_images(study: Study) -> str:
    """Arms that are compared at one portion withhold the same images."""
    arms = {arm.name: arm for arm in study.arms}
    scarce = 0
    for contrast in _contrasts(study):
        one, other = (_withheld(study, arms[name]) for name in (contrast.arm, contrast.against))
        if one is None or other is None or one[0] != other[0]:
            continue
        if one != other:
            raise ValueError(
                f"{_versus(contrast)}: both keep {one[0]:g} of the real images, but not the same ones (portion seeds "
                f"{one[1]} and {other[1]}); give one --portion-seed, and the subset that --seed"
            )
        scarce += 1
    if not scarce:
        return "no comparison is between two arms that withhold real images"
    return f"both arms withhold the same images in each comparison that both are scarce in, {scarce} of them"


def _controls(study: Study) -> str:
    """A random subset is that of the very filter whose arm it is compared with."""
    sets = {arm.name: arm.sets for arm in study.arms}
    controls = [(arm, made.step) for arm in study.arms for made in arm.sets if isinstance(made, Control)]
    kept = {made for arm in study.arms for made in arm.sets if isinstance(made, Step) and made.command == "filter"}
    for arm, step in controls:
        if step.command != "filter" or "--no-control" in step.words:
            raise ValueError(
                f"arm {arm.name!r}: {_named(step)} leaves no control; only filter does, without --no-control"
            )
        if step not in kept:
            raise ValueError(
                f"arm {arm.name!r}: is the control of {_named(step)}, whose selection no arm trains on, so the count "
                "is not told from the filter"
            )
    for contrast in _contrasts(study):
        one, other = sets[contrast.arm], sets[contrast.against]
        pairs = [(_filters(one), _drawn(other)), (_filters(other), _drawn(one))]
        if wrong := [(filters, drawn) for filters, drawn in pairs if filters and drawn and filters != drawn]:
            names = [some(map(_named, steps)) for steps in wrong[0]]
            raise ValueError(f"{_versus(contrast)}: a selection by {names[0]} beside the control of {names[1]}")
    if not controls:
        return "no arm trains on a random subset"
    return f"arms on a random subset: {len(controls)}, each of as many images as the filter of another arm keeps"


def _scorers(study: Study) -> str:
    """Selections go by columns of `augment score`, which always judges by networks that have not seen the identity."""
    filters = list(dict.fromkeys(step for arm in study.arms for made in arm.sets for step in _chain(made)))
    judges = set()
    for step in (step for step in filters if step.command == "filter"):
        base, scores = step.inputs[0], step.inputs[1:]
        for made in scores:
            score = _step(made)
            if score.command != "score" or "--reid" in score.words:
                raise ValueError(
                    f"{_named(step)}: is scored by {_named(score)}, whose network may have seen the identities that it "
                    "judges; use a step of score, without --reid, whose two judges are cross-fitted"
                )
            own = _data(_synthesis(base, None).inputs[0])
            if score.inputs[0] != base or score.inputs[1] != own:
                raise ValueError(
                    f"{_named(step)}: its scores are of another set, or beside other data; score its own set"
                )
            judges.add(score)
    count = sum(step.command == "filter" for step in filters)
    if not count:
        return "no set is filtered, so none is scored"
    return f"filters: {count}, by {len(judges)} runs of score, whose two networks judge identities that are new to them"


def _test_identities(layout: Layout) -> str:
    for unit in layout.units.values():
        if "--allow-test-identities" in unit.argv:
            raise ValueError(f"{unit.name}: --allow-test-identities shows people of query and gallery; leave it out")
    return f"none of {len(layout.units)} steps allows test identities"


def _foreign(layout: Layout) -> str:
    """Never wrong, but to be known."""
    units = layout.units.values()
    told = {word: [unit.name for unit in units if word in unit.argv] for word in FOREIGN}
    said = [
        f"the generator has seen other data ({word} in {some(names, most=len(names))})"
        for word, names in told.items()
        if names
    ]
    starts = {_option(unit.argv, "--init") for unit in units if unit.command == REID} - {None, "random"}
    said += [f"re-ID networks start from {some(sorted(filter(None, starts)))}"] if starts else []
    return "; ".join(said) or "no step says that it starts from weights of other data"


def _contrasts(study: Study) -> Sequence[Contrast]:
    return (*study.contrasts, *([study.erasing] if study.erasing else []))


def _versus(contrast: Contrast) -> str:
    return f"{contrast.arm!r} against {contrast.against!r}"


def _words(study: Study, arm: Arm) -> list[str]:
    """The options of an arm's trials; of one that is given twice, the last counts."""
    return shlex.split(f"{study.reid} {arm.options}")


def _option(words: Sequence[str], name: str) -> str | None:
    """The value of an option, which may be written in one word or two."""
    value = None
    for place, word in enumerate(words):
        if word == name and place + 1 < len(words):
            value = words[place + 1]
        elif word.startswith(f"{name}="):
            value = word.partition("=")[2]
    return value


def _portion(study: Study, arm: Arm) -> float:
    return float(_option(_words(study, arm), "--portion") or 1)


def _withheld(study: Study, arm: Arm) -> tuple[float, str] | None:
    """Of an arm with a portion of the real images: how many, and the seed of the choice; None where it has all."""
    words = _words(study, arm)
    portion = float(_option(words, "--portion") or 1)
    if portion < 1:
        return portion, _option(words, "--portion-seed") or "each trial's own"
    if arm.data.command != "subset":
        return None
    return float(_option(arm.data.words, "--portion") or 1), _option(arm.data.words, "--seed") or "0"


def _searched(study: Study, arm: Arm) -> tuple[Step, str | None]:
    """Whose query and gallery an arm is evaluated on: those of a step, or of a path."""
    return _root(arm.data), _option(_words(study, arm), "--test")


def _step(made: Made) -> Step:
    return made.step if isinstance(made, Control) else made


def _chain(made: Made) -> Iterator[Step]:
    """A set's step, and those of the sets that it was chosen from."""
    step = _step(made)
    yield step
    while step.command == "filter" and step.inputs:
        step = _step(step.inputs[0])
        yield step


def _synthesis(made: Made, arm: Arm | None) -> Step:
    """The step that generated a set's images."""
    *_, step = _chain(made)
    if step.command != "synthesize" or not step.inputs:
        whose = f"arm {arm.name!r}: trains on" if arm else "a filter: takes"
        raise ValueError(f"{whose} what {_named(step)} makes, which is no synthetic set of some data")
    return step


def _filters(sets: Sequence[Made]) -> set[Step]:
    return {made for made in sets if isinstance(made, Step) and made.command == "filter"}


def _drawn(sets: Sequence[Made]) -> set[Step]:
    """The filters whose controls are among the sets."""
    return {made.step for made in sets if isinstance(made, Control)}


def _data(made: Made) -> Step:
    step = _step(made)
    if step.command not in DATA_STEPS:
        raise ValueError(f"{_named(step)}: stands where a data set is needed")
    return step


def _whole(step: Step) -> Iterator[Step]:
    """The data that a subset is part of, from the nearest on."""
    while step.command == "subset":
        step = _data(step.inputs[0])
        yield step


def _root(step: Step) -> Step:
    *_, root = (_data(step), *_whole(step))
    return root


def _named(step: Step) -> str:
    return "the study's data" if step.command == GIVEN else f"{step.command} {step.options}".strip()
