"""A look at models: sizes, receptive fields, parameters, memory, time, and what layers are as
matrices. Everything is exact unless it says that it measures.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbcnn.analysis.conversion import conv_to_dense, dense_to_conv, fully_convolutional
    from nbcnn.analysis.fields import FieldReport, LayerField, UnitField, receptive_field
    from nbcnn.analysis.matrices import conv_as_matrix
    from nbcnn.analysis.memory import MemoryReport, max_batch, memory_report
    from nbcnn.analysis.operations import OperationCount, operation_count
    from nbcnn.analysis.parameters import LayerParameters, ParameterReport, parameter_count
    from nbcnn.analysis.profiling import LayerTime, Limits, ProfileReport, profile
    from nbcnn.analysis.shifts import Shifted, ShiftReport, equivariance
    from nbcnn.analysis.sizes import output_size

# Name -> the file that defines it.
NAMES = {
    "FieldReport": "fields",
    "LayerField": "fields",
    "LayerParameters": "parameters",
    "LayerTime": "profiling",
    "Limits": "profiling",
    "MemoryReport": "memory",
    "OperationCount": "operations",
    "ParameterReport": "parameters",
    "ProfileReport": "profiling",
    "ShiftReport": "shifts",
    "Shifted": "shifts",
    "UnitField": "fields",
    "conv_as_matrix": "matrices",
    "conv_to_dense": "conversion",
    "dense_to_conv": "conversion",
    "equivariance": "shifts",
    "fully_convolutional": "conversion",
    "max_batch": "memory",
    "memory_report": "memory",
    "operation_count": "operations",
    "output_size": "sizes",
    "parameter_count": "parameters",
    "profile": "profiling",
    "receptive_field": "fields",
}

__all__ = [
    "FieldReport",
    "LayerField",
    "LayerParameters",
    "LayerTime",
    "Limits",
    "MemoryReport",
    "OperationCount",
    "ParameterReport",
    "ProfileReport",
    "ShiftReport",
    "Shifted",
    "UnitField",
    "conv_as_matrix",
    "conv_to_dense",
    "dense_to_conv",
    "equivariance",
    "fully_convolutional",
    "max_batch",
    "memory_report",
    "operation_count",
    "output_size",
    "parameter_count",
    "profile",
    "receptive_field",
]


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module 'nbcnn.analysis' has no attribute {name!r}")
    found = globals()[name] = getattr(
        importlib.import_module(f"nbcnn.analysis.{NAMES[name]}"), name
    )
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
