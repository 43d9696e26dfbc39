from __future__ import annotations

from bmopt.core.profile import LayerProfile, LayerTime, quickest


def profile(wall: float, **times: float) -> LayerProfile:
    layers = [LayerTime(name, "Op", "CPU", "", (), ns, ns) for name, ns in times.items()]
    return LayerProfile("e", 1, 10, tuple(layers), wall, wall, 0.0, 0.0)


def test_a_kernel_counts_with_its_quickest_time() -> None:
    found = quickest([profile(30.0, a=10.0, b=20.0), profile(25.0, a=15.0, b=10.0)])
    assert [(layer.node, layer.ns) for layer in found.layers] == [("a", 10.0), ("b", 10.0)]
    assert found.wall_ns == 25.0
