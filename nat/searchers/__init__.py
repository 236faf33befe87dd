"""Search strategies. The dictionary only serves commands, which need to spell names; the library takes objects."""

from nat.errors import unknown_name
from nat.searchers.base import AdaptationSteps, Searcher
from nat.searchers.evolutionary import NatSearcher
from nat.searchers.genetic import GeneticSearcher
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
}


def check_searcher(name: str) -> None:
    """Raises `InputError`, with the nearest name, unless there is a strategy of that name."""
    if name not in SEARCHERS:
        raise unknown_name("searcher", name, SEARCHERS)


__all__ = [
    "SEARCHERS",
    "AdaptationSteps",
    "GeneticSearcher",
    "NatSearcher",
    "ProgressiveSearcher",
    "RandomSearcher",
    "RegularisedEvolution",
    "ReinforceSearcher",
    "Searcher",
    "check_searcher",
]
