"""Efforts: how much work each part of a transfer does."""

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nat.errors import InputError

Overrides = dict[str, bool | int | float | str]

AMOUNT = re.compile(r"(?P<number>\d+\.?\d*) (?P<unit>step|epoch)s?(, *(?P<least>\d+)-(?P<most>\d+) steps)?")
GENTLE = 0.25


class Effort(BaseModel):
    """How much work each part of a transfer does. Amounts of training are as `steps_of` reads them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    initial: int = Field(ge=2, description="architectures evaluated before the first surrogate is fitted")
    rounds: int = Field(ge=0, description="rounds of proposing, adapting and evaluating after the first")
    per_round: int = Field(ge=1, description="new architectures of each round")
    archive: int = Field(ge=2, description="most architectures that are evaluated again with a round's weights")
    population: int = Field(ge=4, description="of NSGA-III")
    generations: int = Field(ge=1, description="of NSGA-III, each round")
    algorithm: Literal["nsga3", "nsga2"] = Field(default="nsga3", description="by reference directions, or by crowding")
    surrogate: Literal["trend-gp", "gp", "rbf", "rbf-ensemble", "ridge", "mlp", "trees", "switching"] = Field(
        default="trend-gp", description="what predicts errors in the strategy nat"
    )
    selection: Literal["ehvi", "reference", "spread"] = Field(
        default="ehvi",
        description="what of the predicted is evaluated: by expected improvement, NAT's reference directions, or "
        "MSuNAS's spread",
    )
    first_training: str = Field(description="training of the supernet before the first evaluation")
    round_training: str = Field(description="training of the supernet in each later round")
    batch: int = Field(ge=2, description="images a training step")
    learning_rate: float = Field(gt=0, allow_inf_nan=False, description="peak for the supernet")
    fit_classifier: bool = Field(default=False, description="fit the new classifier on frozen features before training")
    min_crop_area: float = Field(
        default=0.3, gt=0, le=1, description="least area of a training crop, where the data set does not ask for more"
    )
    calibration_images: int = Field(ge=2, description="training images that batch norm is recalibrated on")
    validation_images: int = Field(ge=1, description="most validation images that an evaluation uses")
    finetuning: str = Field(description="training of each subnet that is reported")
    finetuning_rate: float = Field(gt=0, allow_inf_nan=False, description="peak for fine-tuning")
    front: int = Field(ge=1, description="most subnets that are fine-tuned and reported")
    controls: Literal["none", "ends", "all"] = Field(
        default="all",
        description="fine-tuned beside the front: the largest and the smallest subnet, random ones and a network of "
        "timm; ends: the first two",
    )

    @field_validator("first_training", "round_training", "finetuning")
    @classmethod
    def _check_amount(cls, value: str) -> str:
        steps_of(value, 1)
        return value


def efforts() -> dict[str, Effort]:
    """The three efforts; `paper` has NAT's numbers and rules as far as they are known.

    100 initial architectures, 30 iterations, an archive of 300, NSGA-III of 100 x 100, 5 epochs an iteration, batches
    of 96, 2,000 images to recalibrate on, an ensemble of RBFs and reference directions to choose by: Lu et al., TPAMI
    2021, and its reimplementation in ENCAS. There the archive's 300 are refilled with up to 100 candidates each
    iteration. Of our own are AdamW and its rate, four nets a step, and the fine-tuning of ten nets for 50 epochs, for
    which NAT has none.
    """
    return {
        "quick": Effort(
            initial=24,
            rounds=4,
            per_round=12,
            archive=40,
            population=60,
            generations=30,
            first_training="1.4 epochs, 150-480 steps",
            round_training="0.5 epochs, 40-60 steps",
            batch=32,
            learning_rate=2e-3,
            calibration_images=256,
            validation_images=1000,
            finetuning="8 epochs, 300-2000 steps",
            finetuning_rate=1e-3,
            min_crop_area=0.5,
            front=6,
        ),
        "standard": Effort(
            initial=48,
            rounds=8,
            per_round=12,
            archive=60,
            population=100,
            generations=60,
            first_training="20 epochs",
            round_training="3 epochs",
            batch=64,
            learning_rate=1e-3,
            calibration_images=512,
            validation_images=2000,
            finetuning="20 epochs",
            finetuning_rate=5e-4,
            front=8,
        ),
        "paper": Effort(
            initial=100,
            rounds=30,
            per_round=100,
            archive=300,
            population=100,
            generations=100,
            surrogate="rbf-ensemble",
            selection="reference",
            first_training="5 epochs",
            round_training="5 epochs",
            batch=96,
            learning_rate=1e-3,
            calibration_images=2000,
            validation_images=10_000,
            finetuning="50 epochs",
            finetuning_rate=5e-4,
            front=10,
        ),
    }


def gentle(name: str) -> Effort:
    """The effort of a name for a supernet of ImageNet, or one grown out of any trained network.

    Its classifier is fitted first, rates are a quarter of the usual ones (docs/method.md, "Growing a supernet"), and as
    its subnets are good from the first step and cost much, fewer are evaluated and they are trained for less.
    """
    effort = efforts()[name]
    amounts: dict[str, Overrides] = {
        "quick": {
            **{"initial": 16, "rounds": 3, "per_round": 8, "archive": 16, "finetuning": "8 epochs, 200-600 steps"},
            **{"first_training": "1.4 epochs, 50-480 steps", "round_training": "0.5 epochs, 20-60 steps"},
        },
        "standard": {
            **{"initial": 24, "rounds": 5, "per_round": 8, "archive": 24},
            **{"first_training": "6 epochs", "round_training": "1.5 epochs", "finetuning": "8 epochs"},
        },
        "paper": {},
    }
    rates = {rate: GENTLE * getattr(effort, rate) for rate in ("learning_rate", "finetuning_rate")}
    return effort.model_copy(update={"fit_classifier": True, **rates, **amounts[name]})


def steps_of(amount: str, steps_per_epoch: int) -> int:
    """Training steps of an amount: "300 steps", "5 epochs", or "5 epochs, 150-450 steps" (epochs, kept within steps).

    Raises:
        InputError: the text is none of these, or its least is above its most.
    """
    match = AMOUNT.fullmatch(amount.strip())
    number = float(match["number"]) if match else 0.0
    if not match or number >= 1e9:
        raise InputError(
            f"expected an amount of training ('300 steps', '5 epochs' or '5 epochs, 150-450 steps'), got '{amount}'."
        )
    steps = round(number * (steps_per_epoch if match["unit"] == "epoch" else 1))
    if not match["least"]:
        return steps
    least, most = int(match["least"]), int(match["most"])
    if least > most:
        raise InputError(f"expected the lesser number of steps first, as in '{most}-{least} steps', got '{amount}'.")
    return min(max(steps, least), most)
