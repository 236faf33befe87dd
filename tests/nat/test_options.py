from pathlib import Path

import pytest

from nat.efforts import efforts
from nat.errors import InputError
from nat.options import TransferOptions
from nat.settings import checked, read_config


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    amounts = TransferOptions(
        data="digits", overrides={"rounds": "7", "finetuning": "2 epochs", "learning_rate": "1e-2"}
    ).amounts()
    assert (amounts.rounds, amounts.finetuning, amounts.learning_rate) == (7, "2 epochs", 0.01)
    same = {"rounds", "finetuning", "learning_rate"}
    assert amounts.model_dump(exclude=same) == efforts()["quick"].model_dump(exclude=same)


def test_limits_and_sizes_are_read_as_the_command_takes_them(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('data = "digits"\nmax_macs = "15M"\nmax_params = "500k"\nresolutions = "24,32"\n')
    options = checked(TransferOptions, read_config(tmp_path / "a.toml"))
    assert (options.max_macs, options.max_params, options.resolutions) == (15_000_000, 500_000, (24, 32))


def test_options_cannot_be_changed_or_invented() -> None:
    options = TransferOptions(data="digits")
    with pytest.raises(ValueError, match="frozen"):
        options.seed = 1  # type: ignore[misc]
    with pytest.raises(InputError, match="sed"):
        checked(TransferOptions, {"data": "digits", "sed": 1})


@pytest.mark.parametrize("word", ["auto", "off"])
def test_the_limit_of_an_evaluation_may_be_a_word(word: str) -> None:
    assert TransferOptions(data="digits", evaluation_limit=word).evaluation_limit == word
    with pytest.raises(ValueError, match="time"):
        TransferOptions(data="digits", time=word)


def test_a_file_of_weights_of_a_control_needs_its_model() -> None:
    options = checked(TransferOptions, {"data": "x", "control_model": "lcnet_050", "control_weights": "w.safetensors"})
    assert options.control == ("lcnet_050", Path("w.safetensors"))
    assert checked(TransferOptions, {"data": "x"}).control == (None, None)
    with pytest.raises(InputError, match=r"be used: expected --control-model with --control-weights, got the file 'w'"):
        checked(TransferOptions, {"data": "x", "control_weights": "w"})
