"""Docs that are generated, or name files, are in step with the code."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_cli_page_is_what_the_help_texts_say():
    spec = importlib.util.spec_from_file_location("generate_cli", ROOT / "docs" / "generate_cli.py")
    assert spec is not None
    assert spec.loader is not None
    generate_cli = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate_cli)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == generate_cli.render(), "run `python docs/generate_cli.py`"


def test_links_of_the_docs_lead_somewhere():
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
