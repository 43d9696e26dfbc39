"""What bmopt's INT8 is to reach: the two schemes, the goals, and which tools are rivals where."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from peers.catalogue import PEERS, Peer
from peers.tables import share_text

from accuracy.results import SchemeResult, Score

OURS = "bmopt"


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A way of quantising, and how its graphs are run here.

    Attributes:
        target: bmopt's target.
        keeps_qdq: Whether Q/DQ nodes are run as they are written, for another engine's arithmetic.
        environments: Of the tools whose models are meant for the same engine.
    """

    target: str
    keeps_qdq: bool
    environments: tuple[str, ...]

    def is_rival(self, peer: Peer) -> bool:
        """Whether a peer quantises for the engine that the scheme is for."""
        return peer.environment in self.environments


SCHEMES = (
    Scheme("ort-int8", keeps_qdq=False, environments=("onnxruntime", "nncf")),
    Scheme("trt-int8", keeps_qdq=True, environments=("modelopt",)),
)


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is to be reached, on top of being above every rival.

    Attributes:
        agreement: The least share of samples on which INT8 and FP32 choose the same class.
        keeps_top1: Whether top-1 must not be significantly below FP32's.
    """

    agreement: float
    keeps_top1: bool = False


GOALS: Mapping[tuple[str, str], Goal] = MappingProxyType(
    {
        ("mobilenet_v1_025_224_imagenet", "ort-int8"): Goal(0.95, keeps_top1=True),
        ("mobilenet_v1_025_224_imagenet", "trt-int8"): Goal(0.93),
        ("vit_pgd_cifar10", "ort-int8"): Goal(0.98),
        ("vit_pgd_cifar10", "trt-int8"): Goal(0.98),
        ("mobilenetv2_cifar10", "ort-int8"): Goal(0.99),
        ("mobilenetv2_cifar10", "trt-int8"): Goal(0.985),
        ("resnet8_mlperftiny_cifar10", "ort-int8"): Goal(0.975),
        ("resnet8_mlperftiny_cifar10", "trt-int8"): Goal(0.975),
        ("resnet20_cifar10", "ort-int8"): Goal(0.989),
        ("resnet20_cifar10", "trt-int8"): Goal(0.989),
        ("resnet32_cifar10", "ort-int8"): Goal(0.989),
        ("resnet32_cifar10", "trt-int8"): Goal(0.989),
        ("dscnn_kws", "ort-int8"): Goal(0.993),
        ("dscnn_kws", "trt-int8"): Goal(0.993),
    }
)
"""(model, target) -> its goal."""


_HEADS = {
    "ort_default": "ORT default",
    "ort_prepared": "ORT prepared",
    "ort_best": "ORT min-max",
    "ort_entropy": "ORT entropy",
    "ort_percentile": "ORT percentile",
    "openvino": "OpenVINO FP32",
    "nncf_openvino": "NNCF",
    "modelopt_max": "ModelOpt max",
    "modelopt_entropy": "ModelOpt entropy",
}


def head(peer: Peer) -> str:
    """Return a peer's title where there is little room."""
    return _HEADS.get(peer.name, peer.title)


def schemes(names: str) -> list[Scheme]:
    """Return the schemes of a list of targets, all of them if it is empty.

    Raises:
        ValueError: There is no scheme of that name.
    """
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    known = {scheme.target: scheme for scheme in SCHEMES}
    for name in wanted:
        if name not in known:
            raise ValueError(f"no scheme {name!r}; schemes are {', '.join(known)}")
    return [scheme for scheme in SCHEMES if not wanted or scheme.target in wanted]


def rivals(found: SchemeResult) -> list[Score]:
    """Return the rows of the tools that quantise for the scheme's engine and have a figure."""
    scheme = next(scheme for scheme in SCHEMES if scheme.target == found.target)
    names = {peer.name for peer in PEERS if scheme.is_rival(peer)}
    return [row for row in found.rows if row.name in names and row.agreement is not None]


def missed(model: str, found: SchemeResult) -> list[str]:
    """Return what of a goal is missed, a clause each; empty where it is reached."""
    return list(_missed(model, found))


def _missed(model: str, found: SchemeResult) -> Iterator[str]:
    ours = found.row(OURS)
    if ours is None or ours.agreement is None:
        yield ours.note if ours and ours.note else "there is no figure"
        return
    goal = GOALS.get((model, found.target))
    if goal is not None and ours.agreement < goal.agreement:
        yield f"agrees on {share_text(ours.agreement)}, {share_text(goal.agreement)} asked for"
    change = ours.change
    if goal is not None and goal.keeps_top1 and change is not None and change.high < 0:
        yield f"top-1 is below FP32's by {-100 * change.high:.2f} points or more"
    for rival in rivals(found):
        assert rival.agreement is not None
        if rival.agreement >= ours.agreement:
            word = "level with" if rival.agreement == ours.agreement else "below"
            yield f"{word} {rival.title} ({share_text(rival.agreement)})"
