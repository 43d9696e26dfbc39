from __future__ import annotations

import subprocess
import sys

import pytest

from bmopt.errors import UsageError
from bmopt.training.lesson import Lesson
from bmopt.training.train import train
from tests.training.lessons import net, quarters


def test_importing_it_imports_no_torch() -> None:
    code = "import sys, bmopt.training.train; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_missing_torch_is_named_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"fine-tuning needs torch.*pip install 'bmopt\[train\]'"):
        train(Lesson(net(), quarters()))
