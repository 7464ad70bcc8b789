"""Docs that are generated, name files, options or figures, or hold code are in step with the code."""

import dataclasses
import importlib
import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import torch
from torch import nn

from augment.cli import COMMANDS
from augment.commands import options
from generators.dcgan_discriminator import DCGANDiscriminator, DCGANDiscriminatorConfig
from generators.discriminators import DPTNDiscriminator, DPTNDiscriminatorConfig
from generators.objective import TrainingConfig
from generators.pg2 import PG2, PG2Config
from generators.registry import PRESETS, SYSTEMS, create_generator, create_recipe
from generators.residual_discriminator import ResidualDiscriminator, ResidualDiscriminatorConfig

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATORS = (ROOT / "docs" / "generators.md").read_text(encoding="utf-8")
TITLES = {"pg2": "PG2", "patn": "PATN", "dptn": "DPTN", "dptn-ta": "DPTN-TA", "copy": "copy and warp"}
TRAINED = [name for name, system in SYSTEMS.items() if system.objective is not None]


def test_cli_page_is_what_the_help_texts_say():
    spec = importlib.util.spec_from_file_location("generate_cli", ROOT / "docs" / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    generate_cli = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate_cli)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == generate_cli.render(), "run `python docs/generate_cli.py`"


def test_links_of_the_docs_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def command_lines() -> list[list[str]]:
    """The words after `augment` of all code blocks, without comments."""
    blocks = [block for page in PAGES for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.M | re.S)]
    lines = [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.match(r"(?:torchrun .* -m )?augment (.*)", line) for line in lines]
    return [words for match in found if match and (words := shlex.split(match[1], comments=True))[0] in COMMANDS]


def test_command_lines_of_the_docs_are_understood():
    lines = command_lines()
    assert {words[0] for words in lines} == set(COMMANDS)
    for name, *words in lines:
        command = importlib.import_module(f"augment.commands.{COMMANDS[name][0]}").command
        values, rest, _ = command.make_parser(click.Context(command)).parse_args(words)
        assert not rest, words
        if name == "train-generator":
            create_recipe(
                values.get("model", "dptn"),
                values.get("preset", "market"),
                network=options.settings("--network", values.get("network", ())),
                weights=options.settings("--loss", values.get("loss", ())),
            )


def shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def rows(configs: list[Any]) -> dict[str, str]:
    """A table's rows: the values of each field, preset by preset."""
    names = [field.name for field in dataclasses.fields(configs[0])]
    return {name: " | ".join(shown(getattr(config, name)) for config in configs) for name in names}


@pytest.mark.parametrize("model", TITLES)
def test_every_setting_and_loss_option_is_in_its_table(model):
    def tables(name: str) -> list[dict[str, str]]:
        system = SYSTEMS[name]
        ways = [[way[0] for way in system.ways.values()]] if system.ways else []
        return [rows(configs) for configs in [list(system.presets.values()), *ways]]

    section = GENERATORS.split(f"\n## {TITLES[model]}\n")[1].split("\n## ")[0]
    known = tables("dptn") if model == "dptn-ta" else [{}, {}]
    for table, said in zip(tables(model), known, strict=False):
        for name, values in table.items():
            if said.get(name) != values:
                assert f"\n| `{name}` | {values} |" in section, f"docs/generators.md lacks | `{name}` | {values} |"


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TrainingConfig)])
def test_every_training_option_is_in_the_table(field):
    cells = []
    for model in TRAINED:
        values = [shown(getattr(training, field)) for _, training in SYSTEMS[model].ways.values()]
        cells.append(" / ".join(values if len(set(values)) > 1 else values[:1]))
    row = f"| `{field}` | {' | '.join(cells)} |"
    assert f"\n{row}\n" in GENERATORS, f"docs/generators.md lacks {row}"


def numbers(module: nn.Module | None) -> int:
    assert module is not None
    return sum(parameter.numel() for parameter in module.parameters())


def test_numbers_of_parameters():
    with torch.device("meta"):
        for model in SYSTEMS:
            networks = [create_generator(model, preset) for preset in PRESETS]
            counts = " | ".join(f"{numbers(network):,}" for network in networks)
            assert f"\n| `{model}` | {counts} | {networks[0].stride} |\n" in GENERATORS, f"{model} {counts}"
        stages = PG2(PG2Config())
        affinity = ResidualDiscriminatorConfig(3, width=32, norm="instance", dropout=0.0, sigmoid=False)
        parts = {
            "PG2": (stages.coarse, stages.refine, DCGANDiscriminator(DCGANDiscriminatorConfig())),
            "PATN": tuple(ResidualDiscriminator(ResidualDiscriminatorConfig(channels)) for channels in (6, 21)),
            "DPTN": tuple(DPTNDiscriminator(DPTNDiscriminatorConfig(layers=layers)) for layers in (3, 4)),
            "DPTN-TA": (ResidualDiscriminator(affinity),),
        }
    for title, networks in parts.items():
        section = GENERATORS.split(f"\n## {title}\n")[1].split("\n## ")[0]
        for network in networks:
            assert f"{numbers(network):,}" in section, f"{title}: {numbers(network):,}"


def test_code_of_the_generators_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = dict(SYSTEMS)
    found: dict[str, Any] = {"__name__": "docs"}
    try:
        for block in re.findall(r"^```python\n(.*?)^```", GENERATORS, re.M | re.S):
            exec(compile(block, "docs/generators.md", "exec"), found)
    finally:
        SYSTEMS.clear()
        SYSTEMS.update(known)
    assert found["image"].shape == (2, 3, 128, 64)
    assert found["images"].shape == (3, 3, 128, 64)
    torch.testing.assert_close(found["images"][0], found["image"][0])
    assert len(found["curve"]) == 2
