"""Functions that users write, named ``module:function``."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bmopt.errors import UsageError

_FORM = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def names_function(text: str) -> bool:
    """Whether ``text`` looks like ``module:function``."""
    return _FORM.fullmatch(text) is not None


def user_function(text: str) -> Callable[..., Any]:
    """Return the function; modules in the working directory can be imported.

    Raises:
        UsageError: There is no such module or function.
    """
    if not names_function(text):
        raise UsageError(f"{text}: write module:function")
    module_name, _, name = text.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UsageError(f"{text}: {module_name} cannot be imported ({error})") from error
    finally:
        sys.path.pop(0)
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{text}: module {module_name} has no function {name!r}")
    found: Callable[..., Any] = function
    return found
