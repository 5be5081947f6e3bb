"""
A reverb
========

A room answers a clap with an echo that fades, its impulse response. A recording, convolved with that, sounds as if it
was played there. A response of two seconds has 32,000 taps, two thousand million products with the four seconds of
notes: transforms do with far fewer.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np

from fastconv import signal

rate = 16_000
rng = np.random.default_rng(0)
time = np.arange(4 * rate) / rate
notes = [(0.2, 440), (0.7, 550), (1.2, 660), (1.7, 880)]
dry = sum(np.where(time > t, np.exp(-12 * (time - t).clip(0)), 0) * np.sin(2 * np.pi * hz * time) for t, hz in notes)
fading = np.arange(2 * rate) / rate
room = rng.normal(size=2 * rate) * np.exp(-3.5 * fading)
room /= np.sqrt((room**2).sum())

signal.convolve(dry, room)  # compiles
start = perf_counter()
wet = signal.convolve(dry, room)
print(f"{len(dry):,} samples, {len(room):,} taps: {1e3 * (perf_counter() - start):.1f} ms")

# %%
# Notes that were apart run into each other.

figure, axes = plt.subplots(3, 1, figsize=(9, 5), layout="constrained", sharex=True)
for ax, title, samples in zip(axes, ("dry", "the room", "wet"), (dry, room, wet)):
    ax.plot(np.arange(len(samples)) / rate, samples, linewidth=0.5)
    ax.set_title(title, fontsize=10)
axes[-1].set_xlabel("seconds")
