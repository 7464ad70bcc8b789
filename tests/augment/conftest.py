"""The command line, called as a user does."""

import pytest

from tests.command_line import caller


@pytest.fixture
def augment(monkeypatch, capsys):
    return caller(monkeypatch, capsys)
