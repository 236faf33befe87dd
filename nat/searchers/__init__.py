"""Search strategies. The dictionary only serves commands, which need to spell names; the library takes objects."""

from nat.errors import unknown_name
from nat.searchers.base import AdaptationSteps, Searcher
from nat.searchers.evolutionary import NatSearcher
from nat.searchers.genetic import GeneticSearcher
from nat.searchers.random import RandomSearcher

SEARCHERS: dict[str, type[NatSearcher] | type[GeneticSearcher] | type[RandomSearcher]] = {
    "nat": NatSearcher,
    "nsga2": GeneticSearcher,
    "random": RandomSearcher,
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
    "RandomSearcher",
    "Searcher",
    "check_searcher",
]
