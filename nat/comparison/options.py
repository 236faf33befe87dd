"""Comparing strategies: what is compared, with plans of equal cost, in a folder that can be taken up again.

OUT/settings.json      what is compared; going on with other settings is refused
OUT/runs/NAME-SEED/    an ordinary run for each strategy and seed
OUT/compare.json       the result, with compare.png
"""

import dataclasses
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nat.errors import InputError, RunError
from nat.files import read_json, write_json
from nat.meter import Prices
from nat.options import TransferOptions
from nat.plan import Plan
from nat.run_folder import RunFolder
from nat.settings import checked

CONTROL = "random"


class ComparisonOptions(BaseModel):
    """Everything that decides a comparison.

    Attributes:
        transfer: what all runs share; its strategy and seed are not looked at.
        searchers: names of the strategies; random search is among them.
        seeds: 0 to seeds - 1.
        budget: of each search, as `nat.meter.read_budget` reads it.
        macs: multiply-adds at which retrained nets are compared; None for three.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    transfer: TransferOptions
    searchers: tuple[str, ...] = Field(min_length=1)
    seeds: int = Field(default=3, ge=1, le=1000)
    budget: str = "1x"
    macs: tuple[int, ...] | None = Field(default=None, min_length=1)

    @field_validator("macs")
    @classmethod
    def _sorted(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        return None if value is None else tuple(sorted(set(value)))


@dataclass(frozen=True)
class Share:
    """What a strategy gets.

    Attributes:
        name: of the strategy.
        plan: amounts of its search.
        prices: of its work.
    """

    name: str
    plan: Plan
    prices: Prices

    def in_words(self, budget: float) -> str:
        """Its amounts in a line."""
        p, prices = self.plan, self.prices
        architecture = f" ({prices.architecture:g} of them for the architecture)" if prices.architecture else ""
        return (
            f"{self.name}: {p.first_steps} + {p.rounds} x {p.round_steps} training steps of {prices.step:g} passes"
            f"{architecture}, {p.evaluations} evaluations of {prices.evaluation:.1f} passes: {prices.cost(p):,.0f} of "
            f"{budget:,.0f} passes"
        )


@dataclass(frozen=True)
class Comparison:
    """A comparison with everything settled.

    Attributes:
        options: what was asked, with random search among the strategies and absolute paths.
        amounts: of every run, those of training and evaluation replaced by the shares'.
        budget: passes of each search.
        usual: those without --budget.
        macs: multiply-adds at which retrained nets are compared, rising.
        tuning_steps: of each retrained net.
        shares: what each strategy gets.
        seconds: of one run, the mean over the strategies; a forecast.
    """

    options: ComparisonOptions
    amounts: dict[str, Any]
    budget: float
    usual: float
    macs: tuple[int, ...]
    tuning_steps: int
    shares: tuple[Share, ...]
    seconds: float

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Strategy and seed of each run, seed by seed."""
        return [(name, seed) for seed in range(self.options.seeds) for name in self.options.searchers]

    def share(self, name: str) -> Share:
        """What the strategy of a name gets."""
        return next(share for share in self.shares if share.name == name)

    def run_options(self, name: str, seed: int) -> TransferOptions:
        """What is asked of one run."""
        plan = self.share(name).plan
        amounts = self.amounts | {
            "initial": plan.initial,
            "rounds": plan.rounds,
            "per_round": plan.per_round,
            "archive": plan.archive,
            "first_training": f"{plan.first_steps} steps",
            "round_training": f"{plan.round_steps} steps",
        }
        shared = self.options.transfer.model_dump(mode="json")
        own = {"searcher": name, "seed": seed, "overrides": amounts, "passes": self.budget, "finetune_at": self.macs}
        return checked(TransferOptions, shared | own)

    def to_json(self) -> dict[str, Any]:
        """As settings.json has it."""
        shares = [asdict(share) for share in self.shares]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"options": self.options.model_dump(mode="json"), "shares": shares}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Comparison":
        """What `to_json` gave."""
        shares = [Share(s["name"], Plan(**s["plan"]), Prices(**s["prices"])) for s in data["shares"]]
        options = checked(ComparisonOptions, data["options"])
        return cls(**{**data, "options": options, "shares": tuple(shares), "macs": tuple(data["macs"])})


class ComparisonFolder:
    """Paths of a comparison."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self.settings = self.path / "settings.json"
        self.report = self.path / "compare.json"
        self.picture = self.path / "compare.png"
        self.page = self.path / "report.html"
        self.runs = self.path / "runs"

    def error(self, name: str, seed: int) -> Path:
        """File with the reason why a run failed, and below it where."""
        return self.runs / f"{name}-{seed}.error.txt"

    def finished(self, name: str, seed: int) -> bool:
        """Whether a run has come to its end."""
        return self.run(name, seed).front.is_file()

    def run(self, name: str, seed: int) -> RunFolder:
        """The folder of one run."""
        return RunFolder(self.runs / f"{name}-{seed}")

    def read(self) -> Comparison | None:
        """The comparison that the folder holds, if it does.

        Raises:
            RunError: it holds something else.
        """
        if not self.settings.is_file():
            RunFolder(self.path).check_free()
            return None
        try:
            return Comparison.from_json(read_json(self.settings))
        except (InputError, KeyError, TypeError) as error:
            raise RunError(f"'{self.settings}' is not of a comparison ({error}). Name another --out.") from error

    def write(self, comparison: Comparison) -> None:
        """Keeps what is compared."""
        write_json(self.settings, comparison.to_json())


def check_same(folder: ComparisonFolder, kept: Comparison, options: ComparisonOptions) -> None:
    """Raises `RunError` unless a comparison was started with the same options."""
    before, now = _flat(kept.options), _flat(options)
    changed = [f"{name} was {before[name]}, now {now[name]}" for name in now if before.get(name) != now[name]]
    if changed:
        raise RunError(
            f"'{folder.path}' holds a comparison with other settings ({'; '.join(changed)}). Give the same command to "
            "go on with it, or name another --out."
        )


def _flat(options: ComparisonOptions) -> dict[str, str]:
    data = options.model_dump(mode="json")
    data["searchers"] = sorted(data["searchers"])
    return {name: json.dumps(value) for name, value in {**data.pop("transfer"), **data}.items()}
