"""
FIR filters
===========

A sweep from 0 to 8 kHz with a hum of 50 Hz, through a band pass, and at a quarter of its samples.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastconv import signal

rate = 16_000
time = np.arange(4 * rate) / rate
recording = np.sin(2 * np.pi * 1000 * time**2) + np.sin(2 * np.pi * 50 * time)

lag = np.arange(-200, 201) / rate
taps = np.hamming(lag.size) * (6800 * np.sinc(6800 * lag) - 600 * np.sinc(600 * lag)) / rate
band = signal.convolve(recording, taps, mode="same")  # 300 to 3,400 Hz, not delayed
decimated = signal.resample_poly(recording, up=1, down=4)  # to 4 kHz; what lies above 2 kHz is filtered out first

figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for ax, title, samples, hz in zip(
    axes,
    ("as recorded", "300 to 3,400 Hz", "every fourth sample"),
    (recording, band, decimated),
    (rate, rate, rate // 4),
):
    ax.specgram(samples + 1e-3 * np.random.default_rng(0).normal(size=samples.size), Fs=hz, NFFT=256, noverlap=128)
    ax.set(title=title, xlabel="seconds")
axes[0].set_ylabel("Hz")
