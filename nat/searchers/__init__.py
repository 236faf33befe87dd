"""Search strategies. The dictionary only serves commands, which need to spell names; the library takes objects."""

from nat.errors import unknown_name
from nat.searchers.base import AdaptationSteps, Searcher, TrainedSearcher
from nat.searchers.darts import DartsSearcher
from nat.searchers.evolutionary import NatSearcher
from nat.searchers.gdas import GdasSearcher
from nat.searchers.genetic import GeneticSearcher
from nat.searchers.nasp import NaspSearcher
from nat.searchers.progressive import ProgressiveSearcher
from nat.searchers.random import RandomSearcher
from nat.searchers.regevo import RegularisedEvolution
from nat.searchers.reinforce import ReinforceSearcher

SEARCHERS: dict[str, type[Searcher]] = {
    "nat": NatSearcher,
    "nsga2": GeneticSearcher,
    "pnas": ProgressiveSearcher,
    "random": RandomSearcher,
    "regevo": RegularisedEvolution,
    "reinforce": ReinforceSearcher,
    "darts": DartsSearcher,
    "nasp": NaspSearcher,
    "gdas": GdasSearcher,
}


def check_searcher(name: str) -> None:
    """Raises `InputError`, with the nearest name, unless there is a strategy of that name."""
    if name not in SEARCHERS:
        raise unknown_name("searcher", name, SEARCHERS)


__all__ = [
    "SEARCHERS",
    "AdaptationSteps",
    "DartsSearcher",
    "GdasSearcher",
    "GeneticSearcher",
    "NaspSearcher",
    "NatSearcher",
    "ProgressiveSearcher",
    "RandomSearcher",
    "RegularisedEvolution",
    "ReinforceSearcher",
    "Searcher",
    "TrainedSearcher",
    "check_searcher",
]
