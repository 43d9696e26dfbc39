"""The largest flow through a network, and the cut that limits it."""

from __future__ import annotations

from collections import deque

SOURCE, SINK = 0, 1
"""The two nodes that every network has."""


class FlowNetwork:
    """A directed network with whole-numbered capacities.

    Dinic's algorithm (E. A. Dinic, "Algorithm for solution of a problem of maximum flow in
    networks with power estimation", Soviet Math. Doklady 11, 1970): shortest paths are filled,
    level by level, until no path is left. With whole numbers of any size it ends and is exact.
    """

    def __init__(self) -> None:
        self._heads: list[int] = []
        self._left: list[int] = []
        self._out: list[list[int]] = [[], []]

    def add_node(self) -> int:
        """Add a node and return its number."""
        self._out.append([])
        return len(self._out) - 1

    def add_edge(self, tail: int, head: int, capacity: int) -> None:
        """Add an edge; its reverse, which flow is taken back through, lies beside it."""
        for start, end, size in ((tail, head, capacity), (head, tail, 0)):
            self._out[start].append(len(self._heads))
            self._heads.append(end)
            self._left.append(size)

    def fill(self) -> int:
        """Send as much as possible from the source to the sink and return how much that is."""
        total = 0
        while True:
            levels = self._levels()
            if levels[SINK] < 0:
                return total
            total += self._fill_level(levels)

    def reaching_sink(self) -> list[bool]:
        """Return whether each node can still send to the sink: the smallest sink side of a cut."""
        found = [False] * len(self._out)
        found[SINK] = True
        queue = deque([SINK])
        while queue:
            for edge in self._out[queue.popleft()]:
                tail = self._heads[edge]
                if not found[tail] and self._left[edge ^ 1] > 0:
                    found[tail] = True
                    queue.append(tail)
        return found

    def _levels(self) -> list[int]:
        levels = [-1] * len(self._out)
        levels[SOURCE] = 0
        queue = deque([SOURCE])
        while queue:
            node = queue.popleft()
            for edge in self._out[node]:
                head = self._heads[edge]
                if levels[head] < 0 and self._left[edge] > 0:
                    levels[head] = levels[node] + 1
                    queue.append(head)
        return levels

    def _fill_level(self, levels: list[int]) -> int:
        """Fill paths that go up a level with every edge until none is left."""
        total = 0
        place = [0] * len(self._out)
        path: list[int] = []
        node = SOURCE
        while True:
            if node == SINK:
                total += self._send(path)
                node, path = SOURCE, []
                continue
            edge = self._next(node, levels, place)
            if edge is not None:
                path.append(edge)
                node = self._heads[edge]
            elif path:
                node = self._heads[path.pop() ^ 1]
                place[node] += 1
            else:
                return total

    def _next(self, node: int, levels: list[int], place: list[int]) -> int | None:
        edges = self._out[node]
        while place[node] < len(edges):
            edge = edges[place[node]]
            if self._left[edge] > 0 and levels[self._heads[edge]] == levels[node] + 1:
                return edge
            place[node] += 1
        return None

    def _send(self, path: list[int]) -> int:
        amount = min(self._left[edge] for edge in path)
        for edge in path:
            self._left[edge] -= amount
            self._left[edge ^ 1] += amount
        return amount
