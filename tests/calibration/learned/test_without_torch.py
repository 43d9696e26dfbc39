from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from bmopt.calibration.learned.weight import RoundingProblem, learned_weight
from bmopt.errors import UsageError


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, bmopt.calibration.learned.learn; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_torch_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    zeros = np.zeros((1, 1, 1))
    problem = RoundingProblem(zeros, zeros, None, zeros, zeros[0], zeros, zeros[0])
    with pytest.raises(UsageError, match=r"pip install 'bmopt\[torch\]'") as caught:
        learned_weight(problem)
    assert "\n" not in str(caught.value)
