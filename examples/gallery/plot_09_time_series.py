"""
Time series
===========

Daily share prices, which matplotlib ships: a moving average, a weighted one, a polynomial fitted to each window, and
a slope.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import cbook

from fastconv import ndimage, signal

prices = cbook.get_sample_data("goog.npz")["price_data"]["close"].astype(np.float64)[-500:]

average = ndimage.uniform_filter1d(prices, size=41, mode="nearest")
gaussian = ndimage.gaussian_filter1d(prices, sigma=12, mode="nearest")
fitted = signal.savgol_filter(prices, window_length=41, polyorder=3)  # keeps the height of peaks
slope = signal.savgol_filter(prices, window_length=41, polyorder=2, deriv=1)

figure, (above, below) = plt.subplots(2, 1, figsize=(9, 4.8), layout="constrained", sharex=True, height_ratios=[3, 1])
above.plot(prices, color="0.7", label="prices")
for label, line in {"mean of 41 days": average, "Gaussian, sigma 12": gaussian, "Savitzky-Golay": fitted}.items():
    above.plot(line, label=label)
above.legend(frameon=False)
below.axhline(0, color="0.7")
below.plot(slope)
below.set(ylabel="a day", xlabel="days")
