"""Multiply-adds and parameters of all networks of a space of cells, as arithmetic on tables.

    >>> from nat.supernet.cells.network import NAS_BENCH_201
    >>> from nat.supernet.cells.space import cell_spaces
    >>> costs = CellCosts(cell_spaces()["nas-bench-201"], NAS_BENCH_201)
    >>> costs.of(costs.space.largest())
    (220119680, 1531546)

Edges cost the same whatever the others are. So the network whose edges are all `none` is counted once, and each
operation once for each layer and stride it can be at. Auxiliary classifiers, which only training has, do not count.
"""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from nat.supernet.cells.counting import count, operation_costs
from nat.supernet.cells.genotype import Cell, Genotype
from nat.supernet.cells.network import CellForm, CellNetwork
from nat.supernet.cells.operations import NONE
from nat.supernet.cells.space import EdgeCellSpace
from nat.supernet.searchable import Counts, Encodings

MACS, PARAMS = 0, 1  # columns


def network_costs(genotype: Genotype, form: CellForm) -> tuple[int, int]:
    """Multiply-adds for one image of the form's resolution, and parameters, of any genotype, of whatever space."""
    with torch.device("meta"):
        network = CellNetwork(genotype, form)
    return count(network, 3, form.resolution, form.resolution)


class CellCosts:
    """Costs of all genotypes of a space, in networks of one form.

    Args:
        space: of the encodings.
        form: everything of the networks but the cells.
    """

    def __init__(self, space: EdgeCellSpace, form: CellForm) -> None:
        self.space, self.form = space, form
        empty = {cell: Cell([[(NONE, 0)]] * space.nodes, space.outputs, space.inputs) for cell in space.candidates}
        self._fixed = np.array(network_costs(Genotype(empty["normal"], empty.get("reduce")), form))

    def edge_costs(self, cell: str, source: int) -> Counts:
        """Multiply-adds and parameters, summed over all layers, of each candidate on an edge, shape (candidates, 2).

        Args:
            cell: "normal" or "reduce".
            source: the node that the edge comes from.
        """
        return self._tables[cell, self.space.stride(cell, source)]

    @cached_property
    def _tables(self) -> dict[tuple[str, int], Counts]:
        """Costs of each candidate, shape (candidates, 2), by cell and stride."""
        tables = {}
        for cell, names in self.space.candidates.items():
            layouts = [layout for layout in self.form.layouts() if layout.reduces == (cell == "reduce")]
            for stride in {self.space.stride(cell, source) for source in (0, self.space.inputs)}:
                # operations at stride 1 in a reduction are behind those at stride 2
                places = [(it.channels, stride, it.size if stride == 2 else it.after) for it in layouts]
                costs = [[operation_costs(name, *place) for place in places] for name in names]
                tables[cell, stride] = np.array(costs, dtype=np.int64).reshape(len(names), -1, 2).sum(axis=1)
        return tables

    def macs(self, encodings: Encodings) -> Counts:
        """Multiply-adds of canonical encodings (n, genes), shape (n,)."""
        return self._sums(encodings)[:, MACS]

    def params(self, encodings: Encodings) -> Counts:
        """Parameters of canonical encodings (n, genes), shape (n,)."""
        return self._sums(encodings)[:, PARAMS]

    def _sums(self, encodings: Encodings) -> Counts:
        total: Counts = np.tile(self._fixed, (len(encodings), 1))
        for place, sources, chosen in self.space.kept_edges(encodings):
            table = np.stack([self.edge_costs(place.cell, source) for source in range(place.node)])
            total += table[sources, chosen].sum(axis=1)
        return total

    def ends(self) -> Encodings:
        """Genotypes of the least and the greatest multiply-adds, then of parameters, shape (4, genes)."""
        ends = [self._extreme(column, sign) for column in (MACS, PARAMS) for sign in (1, -1)]
        return np.stack(ends)

    def _extreme(self, column: int, sign: int) -> NDArray[np.int64]:
        """Costs of edges add up: each edge's best operation, then the best way to keep edges, node by node."""
        row = np.zeros(len(self.space.lower), dtype=np.int64)
        for place in self.space.places:
            costs = sign * np.stack([self.edge_costs(place.cell, source)[:, column] for source in range(place.node)])
            way = int(costs.min(axis=1)[place.sources].sum(axis=1).argmin())
            row[place.first] = way  # overwritten where there is only one
            row[place.operations] = costs.argmin(axis=1)[place.sources[way]]
        return row

    def of(self, architecture: Genotype) -> tuple[int, int]:
        """Multiply-adds and parameters of one genotype of the space."""
        macs, params = self._sums(self.space.encode([architecture]))[0].tolist()
        return macs, params
