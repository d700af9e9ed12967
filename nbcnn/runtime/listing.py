"""Which devices this machine offers."""

from nbcnn.runtime import cuda


def devices() -> list[str]:
    """The names that `set_device` takes here: 'cpu', then the GPUs that can be used."""
    if cuda.missing() is not None:
        return ["cpu"]
    return ["cpu", *(f"cuda:{number}" for number in range(cuda.gpu_count(cuda.driver_library())))]
