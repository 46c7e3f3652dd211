"""Class-activation methods: which feature maps of a layer speak for the class, and where.

All take the output of one layer, by default the deepest convolution, and interpolate what they make of it
(multi)linearly onto the scan's grid. The output of a convolution is signed. Three methods are made for rectified
feature maps, two of which divide by their sums; their default is the rectifier after that convolution.
"""

from __future__ import annotations

from .ablation import ablationcam
from .channel_weights import gradcam, gradcam_plus_plus, guided_gradcam, xgradcam
from .components import eigencam
from .masks import scorecam
from .voxel_weights import hirescam, layercam

__all__ = [
    "ablationcam",
    "eigencam",
    "gradcam",
    "gradcam_plus_plus",
    "guided_gradcam",
    "hirescam",
    "layercam",
    "scorecam",
    "xgradcam",
]
