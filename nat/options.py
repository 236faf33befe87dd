"""Settings of a transfer: what the user asks for, and the efforts that set everything else."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from nat.errors import InputError

Model = TypeVar("Model", bound=BaseModel)
Overrides = dict[str, bool | int | float | str]

AMOUNT = re.compile(r"(?P<number>\d+\.?\d*) (?P<unit>step|epoch)s?(, *(?P<least>\d+)-(?P<most>\d+) steps)?")
GENTLE = 0.25
DEFAULT_SUPERNET = "tiny-small"
UNUSABLE = "settings that cannot be used: "


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
            first_training="1.4 epochs, 50-480 steps",
            round_training="0.5 epochs, 20-60 steps",
            batch=32,
            learning_rate=2e-3,
            calibration_images=256,
            validation_images=1000,
            finetuning="8 epochs, 300-450 steps",
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
        "quick": {"initial": 16, "rounds": 3, "per_round": 8, "archive": 16, "finetuning": "8 epochs, 200-300 steps"},
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


class TransferOptions(BaseModel):
    """Everything that decides a run; `config.json` holds it resolved, and `--config` takes it back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    supernet: str = DEFAULT_SUPERNET
    model: str | None = None
    searcher: str = "nat"
    objectives: str = "top1,macs"
    max_macs: int | None = Field(default=None, gt=0)
    max_params: int | None = Field(default=None, gt=0)
    max_memory: int | None = Field(default=None, gt=0)
    max_latency_ms: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    min_top1: float | None = Field(default=None, gt=0, lt=1)
    latency: str | None = None
    resolutions: tuple[int, ...] | None = None
    effort: Literal["quick", "standard", "paper"] = "quick"
    overrides: Overrides = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**31)
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    data_root: str | None = None
    store_size: int = Field(default=256, ge=32)
    skip_corrupt: bool = False
    flip: bool | None = None  # whether training images may be mirrored; None: as the data set's card says
    balance: Literal["none", "sampler", "loss", "auto"] = "none"
    adaptation: Literal["rounds", "frozen"] = "rounds"
    time: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    evaluations: int | None = Field(default=None, ge=2)
    evaluation_limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto", "off"] = "auto"
    warm_start: str | None = None
    control_model: str | None = None  # of timm, with its weights: a control of the user's choice
    control_weights: str | None = None  # a file of them, instead of the published ones
    passes: float | None = Field(default=None, gt=0, allow_inf_nan=False)  # of the search, as nat.meter counts
    finetune_at: tuple[int, ...] | None = None  # the best net within each of these multiply-adds, instead of a spread

    @field_validator("data", "supernet")
    @classmethod
    def _check_named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError(f"expected a name or a path, got '{value}'")
        return value

    @field_validator("max_macs", "max_params", "max_memory", mode="before")
    @classmethod
    def _read_limit(cls, value: object) -> object:
        return read_amount(value) if isinstance(value, str) else value

    @field_validator("time", "evaluation_limit", mode="before")
    @classmethod
    def _read_time(cls, value: object) -> object:
        return read_seconds(value) if isinstance(value, str) and value not in ("auto", "off") else value

    @field_validator("resolutions", mode="before")
    @classmethod
    def _read_resolutions(cls, value: object) -> object:
        return read_sizes(value) if isinstance(value, str) else value

    @field_validator("overrides")
    @classmethod
    def _check_overrides(cls, value: Overrides, others: ValidationInfo) -> Overrides:
        _amounts(efforts()[others.data.get("effort", "quick")], value)  # with all other mistakes
        return value

    @model_validator(mode="after")
    def _check_control(self) -> "TransferOptions":
        if self.control_weights is not None and self.control_model is None:
            raise ValueError(
                f"expected --control-model with --control-weights, got the file '{self.control_weights}' alone: name "
                "the timm model that its weights are of, such as mobilenetv3_small_100"
            )
        return self

    @property
    def control(self) -> tuple[str | None, Path | None]:
        """The network of timm that is asked for as a control, and the file of its weights."""
        return self.control_model, None if self.control_weights is None else Path(self.control_weights)

    @property
    def asks_latency(self) -> bool:
        """Whether an objective or a limit needs a latency table."""
        return self.max_latency_ms is not None or "latency" in re.split(r"[ ,]+", self.objectives)

    def amounts(self, *, general: bool = False) -> Effort:
        """How much work each part does: the effort, with the overrides.

        Args:
            general: whether the supernet's features are good for any photographs; then the effort is `gentle`.
        """
        return _amounts(gentle(self.effort) if general else efforts()[self.effort], self.overrides)


def _amounts(effort: Effort, overrides: Overrides) -> Effort:
    return checked(Effort, {**effort.model_dump(), **overrides})


def checked(model: type[Model], values: Mapping[str, Any]) -> Model:
    """The validated settings.

    Raises:
        InputError: all mistakes at once, one a line.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        lines = [_mistake(details, model) for details in error.errors()]
        raise InputError(f"{UNUSABLE}{'; '.join(lines)}.") from error


def _mistake(details: Any, model: type[BaseModel]) -> str:
    """One of pydantic's findings in the words of the toolkit."""
    place = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return f"unknown setting {place} (there are {', '.join(sorted(model.model_fields))})"
    message = details["msg"].removeprefix("Value error, ").removeprefix(UNUSABLE).rstrip(".")
    own = details["type"] == "value_error"  # says what it got
    where = f"{place}: " if place else ""  # several settings together have none
    return f"{where}{message}" + ("" if own else f", got {details['input']!r}")


def read_config(path: Path) -> dict[str, Any]:
    """Settings of a TOML or JSON file; `config.json` of a run may be given as it is.

    Raises:
        InputError: the file is missing or neither.
    """
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise InputError(f"cannot read settings from '{path}': {error.strerror or error}.") from error
    except ValueError as error:
        raise InputError(f"expected TOML or JSON settings in '{path}': {error}.") from error
    if not isinstance(data, dict):
        raise InputError(f"expected settings by name in '{path}', got {type(data).__name__}.")
    options = data.get("options", data)
    if not isinstance(options, dict):
        raise InputError(f"expected settings by name as 'options' in '{path}', got {type(options).__name__}.")
    return options


def read_amount(text: str) -> int:
    """A whole number with a suffix k, M or G: "15M" is 15,000,000.

    Raises:
        InputError: it is none, or not above 0.
    """
    factors = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
    word = text.strip().replace("_", "").replace(",", "")
    factor = factors.get(word[-1:].lower(), 1)
    try:
        value = round(float(word[:-1] if factor > 1 else word) * factor)
    except (ValueError, OverflowError):
        value = 0
    if value <= 0:
        raise InputError(f"expected a number above 0 such as 30M or 500k, got '{text}'.")
    return value


def read_seconds(text: str) -> float:
    """A time in seconds, or with a suffix s, m or h: "30m" is 1,800.

    Raises:
        InputError: it is none, or not above 0.
    """
    factors = {"s": 1, "m": 60, "h": 3600}
    word = text.strip().lower()
    factor = factors.get(word[-1:], 0)
    try:
        value = float(word[:-1] if factor else word) * (factor or 1)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e9:
        raise InputError(f"expected a time such as 90s, 30m or 2h, got '{text}'.")
    return value


def read_sizes(text: str) -> list[int]:
    """Whole numbers with commas between: "64,96,128".

    Raises:
        InputError: a word is no whole number.
    """
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError as error:
        raise InputError(f"expected whole numbers such as 64,96,128, got '{text}'.") from error
