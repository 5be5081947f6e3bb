# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A network, trained
#
# Handwritten digits, read by a small convolutional network that is written in NumPy and fastconv alone, gradients
# included. The digits are those that scikit-learn ships: 1,797 images of 8 x 8 pixels (E. Alpaydin and C. Kaynak,
# *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998). Where PyTorch is installed, the
# same network is trained in it, too, from the same weights on the same batches.

# %%
import time

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastconv
import fastconv.functional as F
from fastconv import grad
from fastconv.cli.console import table

try:
    import torch
except ImportError:
    torch = None

plt.rcParams.update({"figure.dpi": 80, "figure.constrained_layout.use": True, "font.size": 9, "image.cmap": "gray"})

digits = load_digits()
images = (digits.images[:, np.newaxis] / 16).astype(np.float32)  # (N, 1, 8, 8), from 0 to 1
labels = digits.target
order = np.random.default_rng(0).permutation(len(images))
held_out, kept = order[:450], order[450:]
print(f"{len(kept)} images to learn from, {len(held_out)} to be asked about, {fastconv.get_num_threads()} threads")

figure, grid = plt.subplots(2, 12, figsize=(8.4, 1.8))
for axes, which in zip(grid.flat, kept):
    axes.imshow(images[which, 0], cmap="gray_r")
    axes.set_title(labels[which], fontsize=8)
    axes.set_axis_off()
plt.show()

# %% [markdown]
# ## Forward
#
# Two layers of 3 x 3 kernels, each followed by a ReLU and a maximum over squares of 2 x 2; what is left of an image,
# 64 channels of 2 x 2, goes through one matrix to ten numbers, the logarithms of how likely each digit is, up to a
# constant. The functions have PyTorch's names and arguments. A pool also returns where each maximum stood, which its
# gradient needs.


# %%
def first_weights(seed, dtype=np.float32):
    """Random weights by K. He et al., *Delving deep into rectifiers*, ICCV 2015: variance 2 over the terms of a sum."""
    random = np.random.default_rng(seed)

    def drawn(*shape):
        return (random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(dtype)

    weights = {"conv1": drawn(32, 1, 3, 3), "conv2": drawn(64, 32, 3, 3), "linear": drawn(10, 256)}
    return weights | {f"{name} bias": np.zeros(len(w), dtype) for name, w in weights.items()}


def forward(weights, x):
    """The network's answers `(N, 10)`, and what its gradient needs."""
    kept = {"x": x}
    for layer in ("conv1", "conv2"):
        x = F.conv2d(x, weights[layer], weights[f"{layer} bias"], padding=1)
        np.maximum(x, 0, out=x)
        kept[layer] = x
        x, kept[f"{layer} indices"] = F.max_pool2d(x, 2, return_indices=True)
        kept[f"{layer} pooled"] = x
    return x.reshape(len(x), -1) @ weights["linear"].T + weights["linear bias"], kept


def cross_entropy(answers, labels):
    """Mean over the batch of minus the logarithm of what the right digit is given, and its gradient."""
    shifted = answers - answers.max(1, keepdims=True)
    likely = np.exp(shifted)
    sums = likely.sum(1, keepdims=True)
    rows = np.arange(len(labels))
    loss = (np.log(sums[:, 0]) - shifted[rows, labels]).mean()
    gradient = likely / sums
    gradient[rows, labels] -= 1
    return loss, gradient / gradient.dtype.type(len(labels))


# %% [markdown]
# ## Backward
#
# The same way back. `grad.conv2d_weight` sums products of the input and of the output's gradient over the batch and
# all positions, `grad.conv2d_input` is a transposed convolution, `grad.max_pool2d_input` puts each gradient where the
# maximum stood. No matrix of windows is made for any of them. The first layer's input is the image, whose gradient
# nobody asks for here.


# %%
def backward(weights, kept, gradient, of_images=False):
    """The gradient of the loss in each weight, and in the images if it is asked for."""
    pooled = kept["conv2 pooled"]
    found = {"linear": gradient.T @ pooled.reshape(len(pooled), -1), "linear bias": gradient.sum(0)}
    gradient = (gradient @ weights["linear"]).reshape(pooled.shape)
    for layer, source in (("conv2", kept["conv1 pooled"]), ("conv1", kept["x"])):
        output = kept[layer]
        gradient = grad.max_pool2d_input(output.shape, kept[f"{layer} indices"], gradient)
        gradient *= output > 0  # the ReLU's
        found[layer] = grad.conv2d_weight(source, weights[layer].shape, gradient, padding=1)
        found[f"{layer} bias"] = grad.conv2d_bias(gradient)
        if layer == "conv2" or of_images:
            gradient = grad.conv2d_input(source.shape, weights[layer], gradient, padding=1)
    return found | ({"images": gradient} if of_images else {})


# %% [markdown]
# ## Are the gradients right?
#
# A gradient says how the loss changes with each number: so it is compared with what happens if that number is moved a
# little to both sides, in float64, for 30 numbers of each array. The quotient errs by the square of the step and by
# rounding over the step; a ReLU or a maximum that changes sides in between would show as a larger difference.

# %%
weights = first_weights(1, np.float64)
random = np.random.default_rng(2)
weights |= {name: random.normal(0, 0.1, w.shape) for name, w in weights.items() if name.endswith("bias")}
x, asked = images[kept[:8]].astype(np.float64) + random.normal(0, 0.05, (8, 1, 8, 8)), labels[kept[:8]]
answers, between = forward(weights, x)
gradients = backward(weights, between, cross_entropy(answers, asked)[1], of_images=True)

step, rows = 1e-5, []
for name, array in {**weights, "images": x}.items():
    worst = 0.0
    for place in random.choice(array.size, min(30, array.size), replace=False):
        number, losses = array.flat[place], []
        for moved in (number + step, number - step):
            array.flat[place] = moved
            losses.append(cross_entropy(forward(weights, x)[0], asked)[0])
        array.flat[place] = number
        worst = max(worst, abs((losses[0] - losses[1]) / (2 * step) - gradients[name].flat[place]))
    scale = abs(gradients[name]).max()
    rows.append([name, str(array.shape), f"{scale:.1e}", f"{worst:.1e}"])
    assert worst < 1e-7 * max(scale, 1e-2), name
print(table(["gradient of the loss in", "shape", "largest", "farthest from a quotient"], rows))

# %% [markdown]
# ## Training
#
# Adam (D. P. Kingma and J. Ba, *Adam: a method for stochastic optimization*, ICLR 2015), batches of 32, the same
# shuffling for every run of this notebook. Each number of each array moves by its mean gradient over the root of the
# mean square of it, times a rate that falls to zero along half a wave of the cosine (I. Loshchilov and F. Hutter,
# *SGDR*, ICLR 2017).

# %%
EPOCHS, BATCH, RATE, DECAYS, TINY = 30, 32, 2e-3, (0.9, 0.999), 1e-8


def rate(epoch):
    return RATE * (1 + np.cos(np.pi * epoch / EPOCHS)) / 2


def batches(epoch):
    """The images of an epoch, in an order of its own."""
    shuffled = np.random.default_rng(100 + epoch).permutation(kept)
    return [shuffled[first : first + BATCH] for first in range(0, len(shuffled), BATCH)]


def train(weights):
    """Mean loss of each epoch, how many held-out digits are then read right, and seconds. `weights` are changed."""
    means, squares = ({name: np.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    losses, right, seconds, turn = [], [], [], 0
    for epoch in range(EPOCHS):
        begin, sums = time.perf_counter(), 0.0
        for which in batches(epoch):
            turn += 1
            answers, between = forward(weights, images[which])
            loss, gradient = cross_entropy(answers, labels[which])
            sums += loss * len(which)
            for name, g in backward(weights, between, gradient).items():
                means[name] += (1 - DECAYS[0]) * (g - means[name])
                squares[name] += (1 - DECAYS[1]) * (g * g - squares[name])
                root = np.sqrt(squares[name] / (1 - DECAYS[1] ** turn)) + TINY
                weights[name] -= rate(epoch) / (1 - DECAYS[0] ** turn) * means[name] / root
        seconds.append(time.perf_counter() - begin)
        losses.append(sums / len(kept))
        right.append((read(weights, images[held_out]) == labels[held_out]).mean())
    return losses, right, seconds


def read(weights, x):
    """The likeliest digit of each image."""
    return forward(weights, x)[0].argmax(1)


begin = time.perf_counter()
weights = first_weights(0)
losses, right, seconds = train(weights)
elapsed = time.perf_counter() - begin
print(f"{right[-1]:.2%} of the held-out digits are read right after {EPOCHS} epochs, in {elapsed:.1f} s")
assert right[-1] >= 0.98
assert elapsed < 120

# %% [markdown]
# ## The same in PyTorch
#
# From the same weights, on the same batches, with its own Adam and its own gradients. The losses are sums in another
# order, so that they differ in the last digits first; training carries differences on.


# %%
def train_in_torch(weights):
    """As `train`."""
    from torch.nn import functional

    parameters = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    optimizer = torch.optim.Adam(parameters.values(), lr=RATE, betas=DECAYS, eps=TINY)
    x, asked = torch.from_numpy(images), torch.from_numpy(labels)

    def answers_to(x):
        for layer in ("conv1", "conv2"):
            x = functional.conv2d(x, parameters[layer], parameters[f"{layer} bias"], padding=1).relu()
            x = functional.max_pool2d(x, 2)
        return functional.linear(x.flatten(1), parameters["linear"], parameters["linear bias"])

    losses, right, seconds = [], [], []
    for epoch in range(EPOCHS):
        begin, sums = time.perf_counter(), 0.0
        optimizer.param_groups[0]["lr"] = rate(epoch)
        for which in map(torch.from_numpy, batches(epoch)):
            loss = functional.cross_entropy(answers_to(x[which]), asked[which])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sums += loss.item() * len(which)
        seconds.append(time.perf_counter() - begin)
        losses.append(sums / len(kept))
        with torch.no_grad():
            right.append((answers_to(x[held_out]).argmax(1) == asked[held_out]).double().mean().item())
    return losses, right, seconds


rows = [["fastconv", f"{np.median(seconds) * 1e3:.0f} ms", f"{losses[-1]:.4f}", f"{right[-1]:.2%}"]]
if torch is None:
    print("PyTorch is not installed: its half of the table and of the curves is left out.")
else:
    torch.set_num_threads(fastconv.get_num_threads())
    torch_losses, torch_right, torch_seconds = train_in_torch(first_weights(0))
    each = f"{np.median(torch_seconds) * 1e3:.0f} ms"
    rows.append(["PyTorch", each, f"{torch_losses[-1]:.4f}", f"{torch_right[-1]:.2%}"])
    apart = abs(np.subtract(losses, torch_losses))
    print(f"losses are at most {apart[0]:.1e} apart in the first epoch, {apart.max():.1e} in any")
    assert apart[0] < 1e-4
    assert apart.max() < 0.02
print(table(["", "an epoch", "last loss", "read right"], rows))

# %%
figure, (left, middle) = plt.subplots(1, 2, figsize=(8.4, 2.8))
epochs = np.arange(1, EPOCHS + 1)
left.plot(epochs, losses, label="fastconv")
middle.plot(epochs, 100 * np.array(right), label="fastconv")
if torch is not None:
    left.plot(epochs, torch_losses, "--", label="PyTorch")
    middle.plot(epochs, 100 * np.array(torch_right), "--", label="PyTorch")
left.set(xlabel="epoch", ylabel="mean loss of an epoch", yscale="log")
middle.set(xlabel="epoch", ylabel="held-out digits read right, %", ylim=(90, 100.3))
for axes in (left, middle):
    axes.grid(alpha=0.3)
    axes.legend()
plt.show()

# %% [markdown]
# ## What it reads, and what it gets wrong

# %%
guessed, true = read(weights, images[held_out]), labels[held_out]
confusion = np.zeros((10, 10), int)
np.add.at(confusion, (true, guessed), 1)

figure, axes = plt.subplots(figsize=(4.2, 3.8))
axes.imshow(confusion, cmap="Blues")
for (row, column), count in np.ndenumerate(confusion):
    if count:
        axes.text(column, row, count, ha="center", va="center", color="w" if count > 20 else "k", fontsize=8)
axes.set(xlabel="read as", ylabel="written", xticks=range(10), yticks=range(10))
plt.show()

wrong = np.flatnonzero(guessed != true)
print(f"{len(wrong)} of {len(true)} are wrong")
figure, grid = plt.subplots(1, max(len(wrong), 2), figsize=(max(len(wrong), 2) * 0.9, 1.2))
for axes, which in zip(grid, wrong):
    axes.imshow(images[held_out[which], 0], cmap="gray_r")
    axes.set_title(f"{true[which]}, read {guessed[which]}", fontsize=7)
for axes in grid:
    axes.set_axis_off()
plt.show()

# %% [markdown]
# The kernels of the first layer, and what they make of a digit.

# %%
which = held_out[0]
channels = F.conv2d(images[[which]], weights["conv1"], weights["conv1 bias"], padding=1)[0]
limit = abs(weights["conv1"]).max()
figure, grid = plt.subplots(4, 17, figsize=(8.4, 2.3))
grid[1, 0].imshow(images[which, 0], cmap="gray_r")
for place in range(32):
    row, column = place // 16 * 2, place % 16 + 1
    grid[row, column].imshow(weights["conv1"][place, 0], cmap="RdBu", vmin=-limit, vmax=limit)
    grid[row + 1, column].imshow(channels[place].clip(0), cmap="gray_r")
for axes in grid.flat:
    axes.set_axis_off()
plt.show()
