"""The GPUs of this host as an engine meets them."""

from __future__ import annotations

from bmopt.core.cuda_driver import cuda_gpus
from bmopt.core.host import host_facts


def own_sms() -> tuple[str, ...]:
    """Return the compute capability of every GPU, for example ``("sm89",)``.

    In CUDA's order, whose first one builds and runs engines. Where CUDA's driver does not answer,
    in the order of nvidia-smi.
    """
    found = cuda_gpus()
    if found is not None:
        return tuple(gpu.sm for gpu in found)
    told = (gpu.compute for gpu in host_facts().gpus)
    return tuple(f"sm{compute.replace('.', '')}" for compute in told if compute)


def bindings_package() -> str:
    """Return the package of ``cuda.bindings`` that fits the driver, for pip.

    No extra of bmopt: on a Jetson, those would replace the TensorRT of JetPack.
    """
    found = cuda_gpus()
    return f"cuda-bindings=={found[0].cuda.partition('.')[0]}.*" if found else "cuda-bindings"
