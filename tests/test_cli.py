"""The commands: what they print, what they write, what they answer to wrong input."""

import importlib
import io
import json
import os
import sys
import tomllib
from pathlib import Path

import numpy as np
import oracle
import pytest
from subprocesses import ROOT, run

import fastconv
from fastconv.cli import COMMANDS, bench, console, demo, main
from fastconv.cli.peers import PEERS, Peer

SIZES = ["tiny_4x4", "small_8x8", "medium_16x16", "channels_32x32", "kernel_5x5", "batch_16x16"]  # the reference's log
OUTPUT_BYTES = dict(zip(SIZES, [16, 144, 6272, 57600, 4608, 25088], strict=True))  # of a valid convolution in float32


def module(*arguments, **variables):
    """``python -m fastconv ...`` in a process of its own."""
    return run("-m", "fastconv", *arguments, check=False, cwd=ROOT, **variables)


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def block(package, *submodules):
        loaded = [name for name in sys.modules if name.partition(".")[0] == package]
        for name in {package, *(f"{package}.{s}" for s in submodules), *loaded}:
            monkeypatch.setitem(sys.modules, name, None)

    return block


# The command line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "invalid choice: 'train'"),
        ([], "required: command"),
        (["info", "now"], "unrecognized arguments: now"),
        (["bench", "--seconds", "soon"], "--seconds: is 'soon', expected a number above 0"),
        (["bench", "--seconds", "0"], "--seconds: is '0', expected a number above 0"),
        (["bench", "--seconds", "-1.5"], "--seconds: is '-1.5', expected a number above 0"),
        (["bench", "--seconds", "inf"], "--seconds: is 'inf', expected a number above 0"),
        (["demo", "--output"], "--output: expected one argument"),
    ],
)
def test_a_wrong_command_line_exits_with_2(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.startswith("usage: python -m fastconv")
    assert not out


@pytest.mark.parametrize(
    ("started", "name"), [("/bin/fastconv", "fastconv"), ("/lib/fastconv/__main__.py", "python -m fastconv")]
)
def test_usage_names_the_command_that_was_typed(monkeypatch, capsys, started, name):
    monkeypatch.setattr(sys, "argv", [started])
    with pytest.raises(SystemExit):
        main(["--help"])
    assert capsys.readouterr().out.startswith(f"usage: {name} [-h] [--version] command ...")


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr() == (f"fastconv {fastconv.__version__}\n", "")


def test_an_installation_has_a_command():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, _, function = project["scripts"]["fastconv"].partition(":")
    assert getattr(importlib.import_module(module), function) is main


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    words = " ".join(capsys.readouterr().out.split())  # it is wrapped to the terminal
    for name, command in COMMANDS.items():
        assert f" {name} {command.__doc__.splitlines()[0]}" in words


def test_the_module_returns_the_exit_code(tmp_path):
    done = module("train")
    assert (done.returncode, done.stdout) == (2, "")
    assert "invalid choice: 'train'" in done.stderr
    done = module("bench", "--json", tmp_path / "absent" / "bench.json")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("bench: cannot write the figures: ")


def test_info():
    done = module("info")
    assert (done.returncode, done.stderr) == (0, "")
    report = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    report = {name.strip(): value.strip() for name, value in report.items()}
    config = fastconv.show_config("dicts")
    assert report == {name.replace("_", " "): str(value) for name, value in config.items()}


# demo ----------------------------------------------------------------------------------------------------------------


def save_image(path, pixels):
    image = pytest.importorskip("PIL.Image")
    image.fromarray((pixels * 255).round().astype(np.uint8)).save(path)
    return path


def scene(height, width):
    """Smooth colours with a dark square and some grain: edges, and never near white."""
    y, x = np.mgrid[:height, :width] / (height, width)[0]
    pixels = np.stack([0.3 + 0.3 * x, 0.3 + 0.2 * y, 0.5 - 0.2 * x], axis=-1)
    pixels[height // 4 : height // 2, width // 4 : width // 2] = 0.05
    return np.clip(pixels + np.random.default_rng(0).normal(0, 0.02, pixels.shape), 0, 0.8)


def panels_of(picture):
    """The images in a picture on white ground, row by row: the large connected areas that are not white."""
    ndimage = pytest.importorskip("scipy.ndimage")
    labels, _ = ndimage.label((picture[..., :3] < 0.99).any(axis=-1))
    boxes = [box for box in ndimage.find_objects(labels) if all(side.stop - side.start > 60 for side in box)]
    return sorted(boxes, key=lambda box: (box[0].start // 20, box[1].start))


def detail(image):
    """Mean difference between neighbours."""
    return float(np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean())


def test_demo_draws_input_and_results(tmp_path, capsys):
    pyplot_image = pytest.importorskip("matplotlib.image")
    pixels = scene(240, 200)
    image, output = save_image(tmp_path / "scene.png", pixels), tmp_path / "result.png"
    assert main(["demo", "--image", str(image), "--output", str(output)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == f"Wrote {output.resolve()}"
    assert [line.split()[0] for line in out[:-1]] == ["edges", "blur", "sharpen", "layer"]
    assert "1x3x240x200 * 12x1x7x7 -> 1x12x120x100" in out[3]

    picture = pyplot_image.imread(output)
    assert picture.shape[1] == 1200
    # Two rows of images as high as 1.2 times a column of 12 / (2 + 8 / 3) inches, and the titles; 100 dots per inch.
    assert abs(picture.shape[0] - 697) <= 1
    boxes = panels_of(picture)
    left = [box for box in boxes if box[1].stop < 1200 * 2 / (2 + 8 / 3) + 5]
    right = [box for box in boxes if box not in left]
    assert (len(left), len(right)) == (4, 12)
    for rows, columns in boxes:
        assert (rows.stop - rows.start) / (columns.stop - columns.start) == pytest.approx(1.2, abs=0.05)

    shown, edges, blurred, sharpened = (picture[box][3:-3, 3:-3, :3] for box in left)
    np.testing.assert_allclose(shown.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), atol=0.02)
    np.testing.assert_allclose(blurred.mean(axis=(0, 1)), pixels.mean(axis=(0, 1)), atol=0.02)
    assert detail(blurred) < detail(shown) / 1.5
    assert detail(sharpened) > detail(shown) * 1.5
    h, w = edges.shape[:2]
    inside = edges[int(h * 0.3) : int(h * 0.45), int(w * 0.3) : int(w * 0.45)].mean()
    border = edges[int(h * 0.24) : int(h * 0.26), int(w * 0.3) : int(w * 0.45)].mean()
    assert border > 4 * inside
    # Red, green and blue rows; within a row the four angles differ.
    for row in range(3):
        planes = [picture[box][3:-3, 3:-3, :3] for box in right[4 * row : 4 * row + 4]]
        assert all(plane.mean(axis=(0, 1)).argmax() == row for plane in planes)
        means = {round(float(plane[: h // 2].mean()), 4) for plane in planes}
        assert len(means) == 4


def test_demo_on_its_own_photograph(tmp_path):
    matplotlib_image = pytest.importorskip("matplotlib.image")
    output = tmp_path / "made.png"
    done = module("demo", "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Wrote {output.resolve()}"
    assert "1x3x600x512 * 3x1x21x21 -> 1x3x600x512" in done.stdout
    assert "6/6" in done.stderr
    height, width = matplotlib_image.imread(output).shape[:2]
    assert width == 1200
    assert abs(height - 682) <= 1


def test_the_filters_of_demo_are_what_they_are_called():
    photograph = np.random.default_rng(1).random((1, 3, 30, 26), dtype=np.float32)
    steps = {step.name: step for step in demo.make_steps(photograph)}
    assert list(steps) == ["edges", "blur", "sharpen", "layer"]
    for step in steps.values():
        got = fastconv.correlate2d(step.x, step.w, **step.options)
        oracle.check(got, oracle.correlate(step.x, step.w, **step.options), step.name)
    flat = {step.name: step for step in demo.make_steps(np.full((1, 3, 30, 26), 0.5, np.float32))}
    for name, value in {"edges": 0, "blur": 0.5, "sharpen": 0.5, "layer": 0}.items():
        step = flat[name]
        got = fastconv.correlate2d(step.x, step.w, **step.options)
        np.testing.assert_allclose(got, value, atol=1e-5, err_msg=name)
    layer = steps["layer"].options
    assert layer["groups"] > 1 < layer["stride"]
    assert layer["dilation"] > 1


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (40, 3), (4, 2000), (900, 1)])
def test_demo_takes_tiny_images_and_strips(tmp_path, capsys, shape):
    pytest.importorskip("matplotlib")
    image = save_image(tmp_path / "tiny.png", scene(*shape))
    output = tmp_path / "result.png"
    assert main(["demo", "--image", str(image), "--output", str(output)]) == 0
    assert output.stat().st_size > 1000


def test_demo_takes_grey_images(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    image = save_image(tmp_path / "grey.png", scene(20, 20)[..., 0])
    assert main(["demo", "--image", str(image), "--output", str(tmp_path / "result.png")]) == 0
    assert "1x3x20x20" in capsys.readouterr().out


def test_demo_writes_where_it_says(tmp_path, capsys):
    """Also to a path without an ending, and in the form that an ending names."""
    pytest.importorskip("matplotlib")
    image = save_image(tmp_path / "scene.png", scene(16, 16))
    for name, magic in {"plain": b"\x89PNG", "page.pdf": b"%PDF", "photo.jpg": b"\xff\xd8"}.items():
        assert main(["demo", "--image", str(image), "--output", str(tmp_path / name)]) == 0
        wrote = Path(capsys.readouterr().out.splitlines()[-1].removeprefix("Wrote "))
        assert wrote == (tmp_path / name).resolve()
        assert wrote.read_bytes().startswith(magic)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("content", [None, b"", b"not a picture", "cut"])
def test_demo_with_an_unreadable_image(tmp_path, capsys, content):
    pytest.importorskip("matplotlib")
    image, output = tmp_path / "image.png", tmp_path / "result.png"
    if content == "cut":
        save_image(image, scene(64, 64))
        content = image.read_bytes()[:3000]
    if content is not None:
        image.write_bytes(content)
    assert main(["demo", "--image", str(image), "--output", str(output)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("demo: cannot read the image: ")
    assert not out
    assert not output.exists()


@pytest.mark.parametrize("limit", [100, 200])  # Pillow warns above its limit, and raises above twice as much
def test_demo_with_an_image_that_is_too_large(tmp_path, capsys, monkeypatch, limit):
    pytest.importorskip("matplotlib")
    image = save_image(tmp_path / "image.png", scene(16, 16))
    monkeypatch.setattr("PIL.Image.MAX_IMAGE_PIXELS", limit)
    assert main(["demo", "--image", str(image), "--output", str(tmp_path / "result.png")]) == 1
    message = f"demo: cannot read the image: it has more than {limit} pixels, the limit of Pillow\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("absent/result.png", "there is no folder {}/absent"),
        ("result.txtx", ".txtx is none of ."),
        (".", "{} is a folder"),
        ("", ". is a folder"),
        ("image.png/result.png", "there is no folder {}/image.png"),
    ],
)
def test_demo_says_at_once_that_it_cannot_write(tmp_path, capsys, monkeypatch, target, reason):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "load", None)  # no work is begun
    image = save_image(tmp_path / "image.png", scene(16, 16))
    output = str(tmp_path / target) if target else ""
    assert main(["demo", "--image", str(image), "--output", output]) == 1
    out, err = capsys.readouterr()
    assert err.startswith(f"demo: cannot write the picture: {reason.format(tmp_path)}")
    assert not out
    assert list(tmp_path.iterdir()) == [image]


@pytest.mark.parametrize("there", [False, True])
def test_demo_says_at_once_that_it_must_not_write(tmp_path, capsys, monkeypatch, there):
    """Nothing is denied to root: the system's answer is put in its place."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "load", None)
    output = tmp_path / "result.png"
    if there:
        output.touch()
    asked = []
    monkeypatch.setattr(demo.os, "access", lambda *question: asked.append(question))
    assert main(["demo", "--output", str(output)]) == 1
    assert capsys.readouterr() == ("", f"demo: cannot write the picture: {output} may not be written\n")
    assert asked == [(output if there else tmp_path, os.W_OK)]


def test_demo_with_a_disk_that_fills_up(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")

    def fail(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(demo, "draw", fail)
    image = save_image(tmp_path / "image.png", scene(16, 16))
    assert main(["demo", "--image", str(image), "--output", str(tmp_path / "result.png")]) == 1
    out, err = capsys.readouterr()
    assert "demo: cannot write the picture: No space left on device\n" in err
    assert not out


def test_demo_warms_up_with_the_calls_that_it_times(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    calls = []

    def note(x, w, **options):
        calls.append((x.shape, w.shape, sorted(options)))
        return correlate2d(x, w, **options)

    correlate2d = fastconv.correlate2d
    monkeypatch.setattr(fastconv, "correlate2d", note)
    image = save_image(tmp_path / "scene.png", scene(40, 50))
    assert main(["demo", "--image", str(image), "--output", str(tmp_path / "result.png")]) == 0
    assert len(calls) == 8
    assert calls[:4] == calls[4:]


@pytest.mark.parametrize(
    ("name", "dtype", "scale", "top"),
    [
        ("grey.png", np.uint8, 200, 255),
        ("grey.png", np.uint16, 50_000, 65_535),
        ("grey.tiff", ">u2", 50_000, 65_535),
        ("grey.tiff", np.int32, 50_000, 65_535),
        ("grey.tiff", np.int32, 1_000_000, 1_000_000),
        ("grey.tiff", np.float32, 0.75, 1),
        ("grey.tiff", np.float32, 8, 8),
    ],
)
def test_demo_keeps_the_range_of_a_picture(tmp_path, name, dtype, scale, top):
    image = pytest.importorskip("PIL.Image")
    pixels = np.linspace(0, scale, 35).reshape(5, 7).astype(dtype)
    image.fromarray(pixels).save(tmp_path / name)
    loaded = demo.load(tmp_path / name)
    assert (loaded.shape, loaded.dtype) == ((1, 3, 5, 7), np.float32)
    np.testing.assert_allclose(loaded, np.broadcast_to(pixels.astype(float) / top, loaded.shape), rtol=1e-6)


def test_demo_without_matplotlib(without, capsys):
    without("matplotlib", "figure")
    assert main(["demo"]) == 1
    assert capsys.readouterr() == ("", "demo needs matplotlib: pip install 'fastconv[demo]'\n")


# bench ---------------------------------------------------------------------------------------------------------------


def cells(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def number(text, unit):
    assert text.endswith(unit)
    return float(text.removesuffix(unit).replace("_", ""))


def test_bench(tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert main(["bench", "--seconds", "1e-9", "--no-peers", "--json", str(path)]) == 0
    _, *blocks = capsys.readouterr().out.split("\n\n")
    tables = [[cells(line) for line in block.splitlines() if line.startswith("│")] for block in blocks]
    assert len(tables) == len(SIZES)
    for size, (header, *rows) in zip(SIZES, tables, strict=True):
        assert header == ["Name", "Time/Run", "Min/Run", "Alloc/Run", "vs Fastest"]
        assert sorted(row[0] for row in rows) == [f"opt_{size}", f"orig_{size}"]

    report = json.loads(path.read_text(encoding="utf-8"))
    assert set(report) == {"config", "rows", "wrong"}
    assert report["wrong"] == []
    assert report["config"] == fastconv.show_config("dicts")
    written = {row["name"]: row for row in report["rows"]}
    assert len(written) == len(report["rows"]) == 12
    for _, *rows in tables:
        medians = []
        for name, time, least, alloc, relative in rows:
            row = written[name]
            assert set(row) == {"name", "median_ns", "min_ns", "alloc_bytes"}
            assert number(time, "ns") == pytest.approx(row["median_ns"], abs=0.01)
            assert number(least, "ns") == pytest.approx(row["min_ns"], abs=0.01)
            assert number(alloc, "B") == row["alloc_bytes"]
            assert 0 < row["min_ns"] <= row["median_ns"]
            assert row["alloc_bytes"] >= OUTPUT_BYTES[name.partition("_")[2]]  # the result is counted
            medians.append(row["median_ns"])
            assert number(relative, "%") == pytest.approx(100 * row["median_ns"] / medians[0], rel=1e-3)
        assert medians == sorted(medians)
    for size in SIZES:
        # What fastconv takes besides the result is of a handful of Python objects.
        assert written[f"opt_{size}"]["alloc_bytes"] <= OUTPUT_BYTES[size] + 2000


def test_bench_measures_for_as_long_as_told(monkeypatch):
    """With a clock that only a call moves on, by 10 us."""
    calls = []
    monkeypatch.setattr(bench.time, "perf_counter", lambda: 1e-5 * len(calls))
    row = bench.measure("name", lambda: calls.append(1), traced=False, seconds=0.5)
    assert row == ("name", pytest.approx(10_000), pytest.approx(10_000), None)
    assert 50_000 <= len(calls) < 51_000


def test_bench_counts_the_bytes_of_one_call():
    assert 80_000 <= bench.allocated(lambda: np.empty(10_000)) < 81_000
    held = []
    assert 160_000 <= bench.allocated(lambda: held.append(np.ones(10_000) + np.ones(10_000))) < 241_000


def peer(result):
    return lambda: Peer(lambda x, w: lambda: result(x, w), traced=False)


def absent():
    raise ImportError("No module named 'absent'")


def test_bench_compares_with_what_is_installed(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(bench, "SIZES", {name: bench.SIZES[name] for name in SIZES[:2]})
    monkeypatch.setattr(bench, "PEERS", {"absent": absent, "same": peer(fastconv.convolve2d)})
    path = tmp_path / "bench.json"
    assert main(["bench", "--seconds", "1e-9", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\nNot installed, left out: absent\n")
    rows = [cells(line) for line in out.splitlines() if line.startswith("│ same")]
    assert [row[0] for row in rows] == ["same_tiny_4x4", "same_small_8x8"]
    assert [row[3] for row in rows] == ["n/a", "n/a"]
    written = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    assert written["same_tiny_4x4"]["alloc_bytes"] is None


def test_bench_leaves_wrong_results_out(monkeypatch, capsys, tmp_path):
    """Ones would hide a kernel that is not flipped; the check is on other numbers."""
    monkeypatch.setattr(bench, "SIZES", {"tiny_4x4": bench.SIZES["tiny_4x4"]})
    monkeypatch.setattr(bench, "PEERS", {"unflipped": peer(fastconv.correlate2d)})
    path = tmp_path / "bench.json"
    assert main(["bench", "--seconds", "1e-9", "--json", str(path)]) == 1
    out, err = capsys.readouterr()
    assert err.endswith("\nResult differs from fastconv's: unflipped_tiny_4x4\n")
    assert "unflipped" not in out
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["wrong"] == ["unflipped_tiny_4x4"]
    assert [row["name"] for row in report["rows"]] == ["orig_tiny_4x4", "opt_tiny_4x4"]


@pytest.mark.parametrize("name", ["absent/bench.json", "."])
def test_bench_says_at_once_that_it_cannot_write(tmp_path, capsys, name):
    assert main(["bench", "--json", str(tmp_path / name)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("bench: cannot write the figures: ")
    assert not out


@pytest.mark.slow
@pytest.mark.parametrize("name", PEERS)
def test_every_installed_peer_agrees(name):
    """In a process of its own: a peer is told to use one thread, and some warn when they are imported."""
    code = f"""
import sys
from fastconv.cli import bench
try:
    library = bench.PEERS[{name!r}]()
except ImportError:
    sys.exit(77)
for size, (x, w) in bench.SIZES.items():
    if library.prepare(bench.np.ones(x, 'f4'), bench.np.ones(w, 'f4')) is not None:
        assert bench._agrees(library, x, w), size
        print(size)
"""
    done = run("-c", code, check=False)
    if done.returncode == 77:
        pytest.skip(f"{name} is not installed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == (SIZES[:2] if name in ("opencv", "scipy") else SIZES)


# Plain text ----------------------------------------------------------------------------------------------------------


def test_progress_without_rich(without, capsys):
    without("rich", "console", "progress")
    with console.progress(2) as begin:
        begin("first")
        begin("second")
    assert capsys.readouterr() == ("", "[1/2] first\n[2/2] second\n")


def test_progress_with_rich(capsys):
    pytest.importorskip("rich")
    with console.progress(2) as begin:
        begin("first")
        begin("second")
    out, err = capsys.readouterr()
    assert not out
    assert "2/2" in err
    assert "done" in err


def test_info_and_bench_work_without_rich(without, capsys):
    without("rich", "console", "progress")
    assert main(["info"]) == 0
    assert main(["bench", "--seconds", "1e-9", "--no-peers"]) == 0
    out, err = capsys.readouterr()
    assert "orig_tiny_4x4" in out
    steps = [f"{who}_{size}" for size in SIZES for who in ("orig", "opt")]
    assert err.splitlines() == [f"[{i}/12] {step}" for i, step in enumerate(steps, 1)]


def test_demo_works_without_rich(without, capsys, tmp_path):
    pytest.importorskip("matplotlib")
    without("rich", "console", "progress")
    image, output = save_image(tmp_path / "image.png", scene(16, 16)), tmp_path / "result.png"
    assert main(["demo", "--image", str(image), "--output", str(output)]) == 0
    out, err = capsys.readouterr()
    assert [line.split(" ", 1)[0] for line in err.splitlines()] == [f"[{i}/6]" for i in range(1, 7)]
    assert out.endswith(f"Wrote {output.resolve()}\n")


def test_a_table_is_aligned():
    assert console.table(["Name", "Time"], [["a", "1ns"], ["long", "12345ns"]]).splitlines() == [
        "┌──────┬─────────┐",
        "│ Name │    Time │",
        "├──────┼─────────┤",
        "│ a    │     1ns │",
        "│ long │ 12345ns │",
        "└──────┴─────────┘",
    ]


def test_a_table_for_a_terminal_without_box_characters(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    table = console.table(["Name"], [["a"]])
    assert table.splitlines() == ["+------+", "| Name |", "+------+", "| a    |", "+------+"]
    print(table)
