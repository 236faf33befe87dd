import inspect
from pathlib import Path

import pytest

from nat.commands.arguments import given, overrides_of
from nat.commands.transferring import transfer
from nat.errors import InputError
from nat.options import TransferOptions


def test_the_command_takes_every_setting_of_a_transfer() -> None:
    not_asked = {"overrides", "passes", "finetune_at"}  # by --set, and by the comparison alone
    assert set(TransferOptions.model_fields) - not_asked <= set(inspect.signature(transfer).parameters)


def test_what_was_given_of_a_commands_parameters() -> None:
    parameters = {"data": "digits", "max_macs": None, "flip": False, "warm_start": Path("run"), "json": True}
    assert given(parameters) == {"data": "digits", "flip": False, "warm_start": "run"}


def test_overrides_are_read_by_name() -> None:
    assert overrides_of(["rounds = 3", "finetuning=2 epochs, 3-4 steps"]) == {
        "rounds": "3",
        "finetuning": "2 epochs, 3-4 steps",
    }
    with pytest.raises(InputError, match="got 'rounds'"):
        overrides_of(["rounds"])
