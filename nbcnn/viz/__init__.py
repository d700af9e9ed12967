"""Pictures of networks, and of what they see. Needs the extra `viz` (matplotlib).

A function that draws returns a matplotlib `Figure`; the numbers behind each picture come from a
function of their own (`saliency_map`, `grad_cam_map`, ...), which needs NumPy only. Images have
channels last.

Common parameters
-----------------
model : a built model with one input (n, h, w, c). What happens at a layer inside is seen in
    functional and sequential models, nested ones included, not in classes with a `call` of their
    own.
image : (h, w, c), or (h, w) for models of gray images.
label : number of the class whose score counts; None (default) takes the one that is predicted.
layer : a layer or its name; for one inside a nested model also "model/layer".
channel : number of the channel.
ax : matplotlib axes to draw into; by default a figure of its own.
save : path that the figure is written to, as "filters.png"; default None.
title : text above; default None.
cmap : matplotlib's name of the colours.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbcnn.viz.ascent import maximal_image
    from nbcnn.viz.charts import confusion_matrix, misclassified, training_curves
    from nbcnn.viz.drawing import Volume, architecture, volumes
    from nbcnn.viz.maps import (
        grad_cam_map,
        input_gradient,
        layer_maps,
        occlusion_map,
        saliency_map,
        smooth_grad_map,
    )
    from nbcnn.viz.pictures import (
        activation_maximization,
        deconvnet,
        feature_maps,
        filters,
        grad_cam,
        occlusion,
        saliency,
        smooth_grad,
    )
    from nbcnn.viz.projection import deconvnet_projection
    from nbcnn.viz.tallies import confusion_counts, filter_images, mistakes

# Name -> the module that defines it.
HOMES = {
    "Volume": "drawing",
    "activation_maximization": "pictures",
    "architecture": "drawing",
    "confusion_counts": "tallies",
    "confusion_matrix": "charts",
    "deconvnet": "pictures",
    "deconvnet_projection": "projection",
    "feature_maps": "pictures",
    "filter_images": "tallies",
    "filters": "pictures",
    "grad_cam": "pictures",
    "grad_cam_map": "maps",
    "input_gradient": "maps",
    "layer_maps": "maps",
    "maximal_image": "ascent",
    "misclassified": "charts",
    "mistakes": "tallies",
    "occlusion": "pictures",
    "occlusion_map": "maps",
    "saliency": "pictures",
    "saliency_map": "maps",
    "smooth_grad": "pictures",
    "smooth_grad_map": "maps",
    "training_curves": "charts",
    "volumes": "drawing",
}

__all__ = [
    "Volume",
    "activation_maximization",
    "architecture",
    "confusion_counts",
    "confusion_matrix",
    "deconvnet",
    "deconvnet_projection",
    "feature_maps",
    "filter_images",
    "filters",
    "grad_cam",
    "grad_cam_map",
    "input_gradient",
    "layer_maps",
    "maximal_image",
    "misclassified",
    "mistakes",
    "occlusion",
    "occlusion_map",
    "saliency",
    "saliency_map",
    "smooth_grad",
    "smooth_grad_map",
    "training_curves",
    "volumes",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'nbcnn.viz' has no attribute {name!r}")
    found = getattr(importlib.import_module(f"nbcnn.viz.{HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return list(__all__)
