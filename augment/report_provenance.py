"""The end of a report: which checks were made, where everything comes from, and how to repeat each step."""

from collections import Counter
from typing import Any

from augment import report_results
from augment.coverage import duration
from augment.report_page import Facts, Folded, Part, Prose, Section
from augment.report_study import Found
from reid.devices import UNRECORDED


def sections(found: Found) -> list[Section]:
    """Audit and provenance."""
    audit = found.audit
    checks: Part = Prose("No checks are recorded: audit.json is missing.", warning=True)
    if audit is not None:
        checks = report_results.checks(audit)
    parts: list[Part] = [Facts(_facts(found)), report_results.sets(found)]
    units = report_results.units(found)
    parts.append(Folded(f"{len(units.rows)} units with their commands", units))
    return [Section("Audit", (checks,)), Section("Provenance", tuple(parts))]


def _facts(found: Found) -> dict[str, str]:
    described = found.described
    times = [unit.seconds for unit in found.units.values() if unit.seconds is not None]
    used = f"{duration(sum(times))}, all attempts of the {len(times)} units that are done"
    facts = {
        "study": f"{described['study']}, scale {described['scale']}",
        "begun": described["created"],
        "data": described["data"],
        "data, SHA-256": described["data_digest"] or "",
        "seeds": ", ".join(map(str, described["seeds"])),
        "options of every trial": described["reid"],
        "time expected": _expected(found),
        "time used": used if times else "",
        "on": ", ".join(sorted({unit.host for unit in found.units.values() if unit.host})),
        "trained on": _devices(found),
        "versions": ", ".join(f"{name} {version}" for name, version in described["versions"].items()),
        "recorded by trials": _recorded(found),
    }
    return {name: value for name, value in facts.items() if value}


def _expected(found: Found) -> str:
    """What the study says of its commands' times, summed over the units."""
    seconds: dict[str, float] = found.described.get("seconds") or {}
    told = [seconds[unit.command] for unit in found.units.values() if unit.command in seconds]
    if not told:
        return ""
    left = len(found.units) - len(told)
    return duration(float(sum(told))) + (f", besides {left} units of which nothing is known" if left else "")


def _devices(found: Found) -> str:
    """Of each device, on how many trials; results of earlier versions do not say."""
    held = Counter(name for each in found.results.values() for name in each["provenance"].get("devices", [UNRECORDED]))
    return ", ".join(f"{name} ({count} of {len(found.results)} trials)" for name, count in sorted(held.items()))


def _recorded(found: Found) -> str:
    """Digests that trials wrote down of the data that they used: one of each, or their results do not compare."""
    held: dict[str, Any] = {}
    for results in found.results.values():
        for key in ("data_digest", "test_digest"):
            held.setdefault(key, []).append(str(results["provenance"].get(key)))
    return "; ".join(f"{key} {', '.join(dict.fromkeys(values))}" for key, values in held.items())
