"""
Sharpen
=======

The unsharp mask: what a blur takes away is added.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

from fastconv import ndimage

photograph = plt.imread(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))[40:260, 140:360] / np.float32(255)
detail = photograph - ndimage.gaussian_filter(photograph, (2, 2, 0))

figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for ax, amount in zip(axes, (0, 1, 3)):
    ax.imshow((photograph + amount * detail).clip(0, 1))
    ax.set_title(f"{amount} times the detail")
    ax.set_axis_off()
