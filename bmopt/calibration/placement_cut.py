"""The placement that a latency table says is fastest, exactly.

Every group is labelled float or integer; a group has a time per label, and a tensor has a cost
where labels differ between who writes and who reads it. Such a sum is least where a cut through a
network is: integers on the source's side, float on the sink's (D. M. Greig, B. T. Porteous and
A. H. Seheult, "Exact maximum a posteriori estimation for binary images", 1989; Y. Boykov and
V. Kolmogorov, 2004, for cuts in general). That a tensor is converted once for all who read it is
two more nodes in the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bmopt.calibration.max_flow import SINK, SOURCE, FlowNetwork
from bmopt.core.latency_table import BorderLatency, GroupLatency

_STEPS_PER_NS = 1 << 16
"""Times are whole numbers in the network, so that the cut is exact."""


def cheapest(
    groups: Mapping[str, GroupLatency],
    borders: Mapping[str, BorderLatency],
    penalty: Mapping[str, float] | None = None,
    *,
    fixed: Mapping[str, bool] | None = None,
) -> frozenset[str]:
    """Return the groups to keep in float so that all times, borders and penalties are least.

    Of placements that cost the same it is the one with the most integers. Times count in steps of
    2^-16 ns.

    Args:
        groups: Name -> times in ns, and the groups that have to be in integers where it is.
        borders: Tensor -> costs in ns, who writes and who reads it.
        penalty: What a group in integers costs on top, in ns; 0 where not named.
        fixed: Groups whose label is given: whether they are in integers. The needs of those must
            not contradict each other.
    """
    cut = _Cut(groups, penalty or {}, fixed or {})
    for border in borders.values():
        cut.add_border(border)
    return cut.kept()


@dataclasses.dataclass
class _Cut:
    """The network of one question."""

    groups: Mapping[str, GroupLatency]
    penalty: Mapping[str, float]
    fixed: Mapping[str, bool]

    def __post_init__(self) -> None:
        self._network = FlowNetwork()
        self._nodes = {name: self._network.add_node() for name in self.groups}
        self._borders: list[BorderLatency] = []

    def add_border(self, border: BorderLatency) -> None:
        """Count a border in."""
        self._borders.append(border)

    def kept(self) -> frozenset[str]:
        """Return the groups on the sink's side."""
        endless = self._endless()
        for name, group in self.groups.items():
            self._add_group(name, group, endless)
        for border in self._borders:
            self._connect(border, endless)
        self._network.fill()
        on_sink = self._network.reaching_sink()
        return frozenset(name for name, node in self._nodes.items() if on_sink[node])

    def _endless(self) -> int:
        """Return more than any placement can cost."""
        times = [group.float_ns + group.int_ns for group in self.groups.values()]
        times += [border.quantize_ns + border.dequantize_ns for border in self._borders]
        times += [abs(price) for price in self.penalty.values()]
        return sum(map(_steps, times)) + len(times) + 1

    def _add_group(self, name: str, group: GroupLatency, endless: int) -> None:
        node, add = self._nodes[name], self._network.add_edge
        in_float, in_int = _steps(group.float_ns), _steps(group.int_ns)
        price = _steps(self.penalty.get(name, 0.0))
        in_float, in_int = in_float + max(0, -price), in_int + max(0, price)
        if name in self.fixed:
            in_float, in_int = (endless, 0) if self.fixed[name] else (0, endless)
        add(SOURCE, node, in_float)
        add(node, SINK, in_int)
        for other in group.needs:
            if other in self._nodes:
                add(node, self._nodes[other], endless)

    def _connect(self, border: BorderLatency, endless: int) -> None:
        network = self._network
        writer = self._nodes.get(border.writer)
        readers = [self._nodes[name] for name in border.readers if name in self._nodes]
        if border.quantize_ns and readers:
            read_in_int = network.add_node()
            for reader in readers:
                network.add_edge(reader, read_in_int, endless)
            start = SINK if writer is None else writer
            network.add_edge(read_in_int, start, _steps(border.quantize_ns))
        if border.dequantize_ns and writer is not None:
            all_in_int = network.add_node()
            for reader in (*readers, *([SINK] if border.read_in_float else [])):
                network.add_edge(all_in_int, reader, endless)
            network.add_edge(writer, all_in_int, _steps(border.dequantize_ns))


def _steps(ns: float) -> int:
    return round(ns * _STEPS_PER_NS)
