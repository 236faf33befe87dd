import pytest

from nat.efforts import efforts, steps_of
from nat.errors import InputError
from nat.options import TransferOptions


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


def test_efforts_grow() -> None:
    quick, standard, paper = efforts().values()
    assert quick.initial < standard.initial < paper.initial == 100
    assert quick.rounds < standard.rounds < paper.rounds == 30
    assert (paper.population, paper.generations, paper.batch, paper.calibration_images) == (100, 100, 96, 2000)


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
