"""Q/DQ graphs computed in integers by TVM, with kernels of our own."""

from bmopt.backends.tvm.integers.importing import import_integers

__all__ = ["import_integers"]
