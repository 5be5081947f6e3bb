"""Fourier transforms of any length `2**a 3**b 5**c`, made of passes of `simd.fft`, for convolutions.

A product of spectra does not ask for their order. So the forward transform is decimated in frequency, in place, and
leaves its results in the order that `frequency` tells; the inverse, decimated in time, runs the same passes backwards
and takes them in that order. No pass only sorts. A transform errs by at most about `6 u log2(n)` in the 2-norm,
relative to its result (Higham, "Accuracy and Stability of Numerical Algorithms", theorem 24.2), by some
`u sqrt(log2(n))` mostly.
"""

import math
from typing import Any, NamedTuple

from .jit import kernel, plain
from .simd.fft import Lines, Place, transform, transform_twiddled, twiddle_transform

MOST_PASSES = 8
PASS_WORDS = 2 + 3 * MOST_PASSES  # of a `Passes.words`


class Passes(NamedTuple):
    """How a length is transformed."""

    words: Any  # from `first` on: the length, how many passes there are, and for each: radix, what is left, factors
    first: int
    twiddles: Any  # pointer to the factors of all passes


@plain
def next_radix(n):
    """The size of the first pass over a length: eights, which take the fewest operations, come last."""
    if n % 5 == 0:
        return 5
    if n % 3 == 0:
        return 3
    twos = 0
    while n % 2 == 0:
        n, twos = n // 2, twos + 1
    return 8 if twos % 3 == 0 else 4 if twos % 3 == 2 or twos >= 4 else 2


@kernel
def root(j, n):
    """`exp(-2 pi i j / n)`, its parts as good as any: sine and cosine are asked for an eighth of a turn at most."""
    j = (8 * j) % (8 * n)
    eighths, rest = divmod(j, n)
    if eighths % 2 == 1:
        rest = n - rest
    angle = math.pi / 4 * (rest / n)
    cosine, sine = math.cos(angle), math.sin(angle)
    if eighths % 4 == 1 or eighths % 4 == 2:
        cosine, sine = sine, cosine
    if 2 <= eighths < 6:
        cosine = -cosine
    return cosine, sine if eighths >= 4 else -sine


@kernel
def write_passes(words, first, n, twiddles, at):
    """Write down the passes over a length and their factors from `twiddles[at]` on; where the next ones go."""
    left, passes = n, 0
    while left > 1:
        radix = next_radix(left)
        length, left = left, left // radix
        words[first + 2 + 3 * passes] = radix
        words[first + 3 + 3 * passes] = left
        words[first + 4 + 3 * passes] = at
        passes += 1
        for j in range(left if left > 1 else 0):
            for q in range(1, radix):
                twiddles[at], twiddles[at + 1] = root(j * q, length)
                at += 2
    words[first], words[first + 1] = n, passes
    return at


@kernel
def frequency(passes, place):
    """Which number of a spectrum lies at a place after `forward`."""
    words, first = passes.words, passes.first
    k, unit = 0, 1
    for i in range(words[first + 1]):
        radix, left = words[first + 2 + 3 * i], words[first + 3 + 3 * i]
        q, place = divmod(place, left)
        k += unit * q
        unit *= radix
    return k


@kernel
def forward(passes, source, work, target):
    """Transform: the first pass reads the source, the last one writes the target, others stay in `work`.

    Any two of these places may be the same.
    """
    words, first = passes.words, passes.first
    n, count = words[first], words[first + 1]
    for i in range(count):
        radix, left, factors = words[first + 2 + 3 * i], words[first + 3 + 3 * i], words[first + 4 + 3 * i]
        a = _lines(source if i == 0 else work, left, radix)
        b = _lines(target if i == count - 1 else work, left, radix)
        if left > 1:
            transform_twiddled(radix, a, b, left, n // (left * radix), passes.twiddles, factors)
        else:
            transform(radix, a, b, 1, n // radix)


@kernel
def inverse(passes, source, work, target):
    """Undo `forward`, times the length."""
    words, first = passes.words, passes.first
    n, count = words[first], words[first + 1]
    for i in range(count - 1, -1, -1):
        radix, left, factors = words[first + 2 + 3 * i], words[first + 3 + 3 * i], words[first + 4 + 3 * i]
        a = _lines(_swapped(source if i == count - 1 else work), left, radix)
        b = _lines(_swapped(target if i == 0 else work), left, radix)
        if left > 1:
            twiddle_transform(radix, a, b, left, n // (left * radix), passes.twiddles, factors)
        else:
            transform(radix, a, b, 1, n // radix)


@kernel
def _lines(place, left, radix):
    step = place.step
    return Lines(place.elements, place.real, place.imaginary, step * left, step, step * left * radix)


@kernel
def _swapped(place):
    return Place(place.elements, place.imaginary, place.real, place.step)
