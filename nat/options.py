"""Settings of a transfer: what the user asks for; its effort sets everything else."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from nat.efforts import Effort, Overrides, efforts, gentle
from nat.quantities import read_amount, read_seconds, read_sizes
from nat.settings import checked

DEFAULT_SUPERNET = "tiny-small"


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
