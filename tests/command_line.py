"""Call the command line as a user does, in this process."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from augment import cli


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def caller(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """`augment(*arguments)`: exit code and both streams."""

    def augment(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["augment", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main()
        code = stop.value.code
        return Outcome(code if isinstance(code, int) else 0, *capsys.readouterr())

    return augment


def require_one_line(outcome: Outcome, *words: str) -> None:
    """A mistake of the user: exit code 2 and one line that says all of the words."""
    assert outcome.code == 2, outcome
    assert outcome.out == "", outcome
    assert outcome.err.count("\n") == 1, outcome.err
    assert outcome.err.startswith("Error: "), outcome.err
    assert "Traceback" not in outcome.err, outcome.err
    for word in words:
        assert word in outcome.err, outcome.err
