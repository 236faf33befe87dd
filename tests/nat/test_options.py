import json
from pathlib import Path

import pytest

from nat.errors import InputError
from nat.options import Effort, TransferOptions, checked, efforts, read_amount, read_config, read_seconds, steps_of


@pytest.mark.parametrize(
    ("text", "value"),
    [("15M", 15_000_000), ("2.5m", 2_500_000), ("500k", 500_000), ("1G", 10**9), ("1B", 10**9),
     ("12,345,678", 12_345_678),
     ("1_000", 1000), (" 7 ", 7), ("1e6", 10**6)],
)  # fmt: skip
def test_amounts_are_read(text: str, value: int) -> None:
    assert read_amount(text) == value


@pytest.mark.parametrize("text", ["", "M", "abc", "0", "-1", "-5M", "0.2", "1e999", "nan", "inf", "5 X", "5MB"])
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="such as 30M"):
        read_amount(text)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("300 steps", 300),
        ("1 step", 1),
        ("0 steps", 0),
        ("5 epochs", 50),
        ("1 epoch", 10),
        ("0.25 epochs", 2),
        (" 2 epochs ", 20),
    ],
)
def test_steps_of_an_amount_of_training(text: str, steps: int) -> None:
    assert steps_of(text, 10) == steps


@pytest.mark.parametrize(
    "text", ["", "5", "epochs", "5 moons", "-1 steps", "nan steps", "inf epochs", "5steps", "1e12 steps"]
)
def test_amounts_of_training_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="300 steps"):
        steps_of(text, 10)


def test_bounds_of_steps_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(InputError, match="'300-480 steps', got '5 epochs, 480-300 steps'"):
        steps_of("5 epochs, 480-300 steps", 10)
    assert steps_of("5 epochs, 300-300 steps", 10) == 300


def test_all_mistakes_are_named_at_once() -> None:
    values = efforts()["quick"].model_dump() | {
        "initial": 0,
        "front": "many",
        "finetuning": "5 moons",
        "learning_rate": -1,
    }
    with pytest.raises(InputError) as error:
        checked(Effort, values)
    for fragment in ("initial", "0", "front", "'many'", "finetuning", "5 moons", "learning_rate", "-1"):
        assert fragment in str(error.value)


def test_overrides_change_what_they_name_and_nothing_else() -> None:
    amounts = TransferOptions(
        data="digits", overrides={"rounds": "7", "finetuning": "2 epochs", "learning_rate": "1e-2"}
    ).amounts()
    assert (amounts.rounds, amounts.finetuning, amounts.learning_rate) == (7, "2 epochs", 0.01)
    same = {"rounds", "finetuning", "learning_rate"}
    assert amounts.model_dump(exclude=same) == efforts()["quick"].model_dump(exclude=same)


def test_efforts_grow() -> None:
    quick, standard, paper = efforts().values()
    assert quick.initial < standard.initial < paper.initial == 100
    assert quick.rounds < standard.rounds < paper.rounds == 30
    assert (paper.population, paper.generations, paper.batch, paper.calibration_images) == (100, 100, 96, 2000)


def test_mistakes_in_settings_and_overrides_are_named_together() -> None:
    values = {"data": " ", "seed": -1, "max_macs": "many", "sed": 1, "overrides": {"rouns": 3, "front": 0}}
    with pytest.raises(InputError) as error:
        checked(TransferOptions, values)
    for fragment in ("data", "seed", "-1", "30M", "'many'", "sed", "rouns", "rounds", "front", "got 0"):
        assert fragment in str(error.value)
    assert str(error.value).count("settings that cannot be used") == 1


def test_limits_and_sizes_are_read_as_the_command_takes_them(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('data = "digits"\nmax_macs = "15M"\nmax_params = "500k"\nresolutions = "24,32"\n')
    options = checked(TransferOptions, read_config(tmp_path / "a.toml"))
    assert (options.max_macs, options.max_params, options.resolutions) == (15_000_000, 500_000, (24, 32))


def test_config_files_in_both_languages(tmp_path: Path) -> None:
    options = TransferOptions(data="digits", max_macs=5, resolutions=(24, 32), overrides={"rounds": 2})
    (tmp_path / "a.json").write_text(options.model_dump_json())
    (tmp_path / "run.json").write_text(json.dumps({"options": options.model_dump(mode="json"), "amounts": {}}))
    (tmp_path / "a.toml").write_text('data = "digits"\nmax_macs = 5\nresolutions = [24, 32]\n[overrides]\nrounds = 2\n')
    for name in ("a.json", "run.json", "a.toml"):
        assert checked(TransferOptions, read_config(tmp_path / name)) == options


@pytest.mark.parametrize("content", [b"{", b"[1, 2]", b"3", b"\xff\xfe", b'{"options": []}'])
def test_config_files_that_are_none_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json"):
        read_config(tmp_path / "a.json")


def test_options_cannot_be_changed_or_invented() -> None:
    options = TransferOptions(data="digits")
    with pytest.raises(ValueError, match="frozen"):
        options.seed = 1  # type: ignore[misc]
    with pytest.raises(InputError, match="sed"):
        checked(TransferOptions, {"data": "digits", "sed": 1})


@pytest.mark.parametrize("effort", efforts())
def test_supernets_of_general_features_are_trained_gently(effort: str) -> None:
    usual, general = (
        TransferOptions.model_validate({"data": "x", "effort": effort}).amounts(general=general)
        for general in (False, True)
    )
    assert (general.fit_classifier, usual.fit_classifier) == (True, False)
    assert general.learning_rate == usual.learning_rate / 4 and general.finetuning_rate == usual.finetuning_rate / 4
    assert general.rounds * (general.per_round + general.archive) <= usual.rounds * (usual.per_round + usual.archive)
    assert (general.batch, general.front, general.population) == (usual.batch, usual.front, usual.population)


def test_what_is_asked_for_wins_over_gentleness() -> None:
    options = TransferOptions(data="x", overrides={"learning_rate": 0.02, "fit_classifier": False})
    amounts = options.amounts(general=True)
    assert (amounts.learning_rate, amounts.fit_classifier) == (0.02, False)


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), (" 1.5H ", 5400)])
def test_times_are_read(text: str, seconds: float) -> None:
    assert read_seconds(text) == seconds
    assert TransferOptions(data="digits", time=text, evaluation_limit=text).evaluation_limit == seconds


@pytest.mark.parametrize("text", ["", "m", "0s", "-3m", "soon", "nan", "inf", "3d"])
def test_times_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="such as 90s, 30m or 2h"):
        read_seconds(text)


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
