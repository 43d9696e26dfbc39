"""Compiles ONNX text with TVM, in a process of its own: ``python tvm_models.py TARGET OUT CC``.

The text comes in on standard input; TARGET is JSON; CC links, the host's compiler if left out.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import warnings
from pathlib import Path

HAS_TVM = importlib.util.find_spec("tvm") is not None
WHY_NOT = "TVM is not installed: pip install 'bmopt[tvm]'"
HOST = {"kind": "llvm", "mcpu": "x86-64-v2"}
ARM = {"kind": "llvm", "mtriple": "aarch64-linux-gnu", "mcpu": "cortex-a72"}
TEXT = """
<ir_version: 8, opset_import: ["" : 17]>
small (float[n, 4] input) => (float[n, 3] logits, int32[n, 4] whole) <float[4, 3] weight = {
  0.5, -1.0, 0.25, 2.0, 0.125, -0.5, 1.5, 0.75, -0.25, 1.0, -2.0, 0.5}>
{ product = MatMul(input, weight) logits = Relu(product) whole = Cast<to = 6>(input) }
"""

TOP_TWO = """
<ir_version: 8, opset_import: ["" : 17]>
top (float[n, 4] input) => (float[n, 2] best, int64[n, 2] places) <int64[1] k = {2}>
{ best, places = TopK(input, k) }
"""


def compile_text(text: str, out: Path, target: dict[str, str], *compiler: str) -> Path:
    """Write the library of a model to the file ``out``."""
    done = subprocess.run(
        [sys.executable, __file__, json.dumps(target), str(out), *compiler],
        input=text,
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def main(target: str, out: str, *compiler: str) -> None:
    warnings.simplefilter("ignore")
    import onnx
    import tvm
    from tvm.relax.frontend.onnx import from_onnx
    from tvm.support import cc

    module = from_onnx(onnx.parser.parse_model(sys.stdin.read()), keep_params_in_input=False)
    built = tvm.compile(module, tvm.target.Target(json.loads(target)))
    linker = {"fcompile": cc.cross_compiler(compiler[0])} if compiler else {}
    built.export_library(out, **linker)


if __name__ == "__main__":
    main(*sys.argv[1:])
