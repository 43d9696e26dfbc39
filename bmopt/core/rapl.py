"""Energy of whole CPU packages, as Linux counts it with RAPL; AMD's CPUs have it as well.

Standard library only and quick to import.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from bmopt.core.cpuinfo import ROOT, read_text

_FOLDER = "sys/class/powercap"
_PACKAGE = "package-"


class RaplCounter:
    """The energy counter of one CPU package; it moves about once a millisecond.

    The kernel's counter starts again at zero after some minutes or hours. This one does not, as
    long as it is read in between.

    Attributes:
        name: The package as the kernel names it, for example ``"package-0"``.

    Raises:
        OSError: The counter cannot be read; constructing reads it.
        ValueError: What is there is no counter.
    """

    def __init__(self, folder: Path) -> None:
        self.name = read_text(folder / "name")
        self._path = folder / "energy_uj"
        self._range_uj = _number(folder / "max_energy_range_uj")
        self._last_uj = _number(self._path)
        self._total_uj = 0

    def energy_uj(self) -> int:
        """Return the energy in µJ since this was opened; errors as in the constructor."""
        now = _number(self._path)
        step = now - self._last_uj
        self._total_uj += step if step >= 0 else step + self._range_uj
        self._last_uj = now
        return self._total_uj


@dataclasses.dataclass(frozen=True)
class Rapl:
    """The packages whose energy can be read; ``reason`` says why others, or all, are missing."""

    packages: tuple[RaplCounter, ...] = ()
    reason: str = ""


def open_rapl(root: Path = ROOT) -> Rapl:
    """Open the counters of this host, or of the tree under ``root``. Never raises."""
    zones = sorted((root / _FOLDER).glob("intel-rapl:*"), key=_order)
    packages = [zone for zone in zones if read_text(zone / "name").startswith(_PACKAGE)]
    if not packages:
        return Rapl(reason=_why_none(zones))
    opened = [_opened(zone) for zone in packages]
    reasons = [one for one in opened if isinstance(one, str)]
    found = tuple(one for one in opened if not isinstance(one, str))
    return Rapl(found, reasons[0] if reasons else "")


def _opened(zone: Path) -> RaplCounter | str:
    """Return a package's counter, or why it cannot be read."""
    try:
        return RaplCounter(zone)
    except PermissionError:
        return (
            "readable by root only: run as root, or as root "
            f"chmod a+r /{_FOLDER}/intel-rapl:*/energy_uj"
        )
    except OSError as error:
        return f"/{_FOLDER}/{zone.name} cannot be read: {error.strerror}"
    except ValueError as error:
        return f"/{_FOLDER}/{zone.name} holds no energy: {error}"


def _order(zone: Path) -> tuple[int, str]:
    """Sort ``intel-rapl:10`` behind ``intel-rapl:9``."""
    return len(zone.name), zone.name


def _why_none(zones: list[Path]) -> str:
    if not zones:
        return (
            f"no energy counters in /{_FOLDER}: virtual machines have none; on bare metal, as "
            "root, modprobe intel_rapl_msr"
        )
    if not any(read_text(zone / "name") for zone in zones):
        return f"/{_FOLDER} is hidden, as containers do: measure outside of the container"
    return f"no counter of a whole package in /{_FOLDER}"


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
