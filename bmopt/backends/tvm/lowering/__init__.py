"""Fast float code for CPUs without tuning."""

from bmopt.backends.tvm.lowering.lower import lower as lower

__all__ = ["lower"]
