"""`fastconv run` beside Python itself: the same output, exit code and traceback."""

import re
import sys

import pytest
from subprocesses import run

PROGRAM = '''
"""A program."""
import atexit, sys
print(sys.argv, sys.path[0], __name__, __file__, __doc__, __package__, __spec__ and __spec__.name)
print(sys.modules["__main__"].__dict__ is globals(), "numba" in sys.modules)
atexit.register(lambda: print("the end", sys.argv[1:]))

class Thing:
    pass

def fail():
    raise KeyError("inner")

match sys.argv[1:]:
    case ["pickle"]:
        import pickle
        print(type(pickle.loads(pickle.dumps(Thing()))))
    case ["error"]:
        try:
            fail()
        except KeyError as error:
            raise ValueError("outer") from error
    case ["hook"]:
        sys.excepthook = lambda kind, value, trace: print(kind, value, trace.tb_frame.f_code.co_name, trace.tb_next)
        raise ValueError("hooked")
    case ["interrupt"]:
        raise KeyboardInterrupt
    case ["exit", code]:
        sys.exit(int(code) if code.isdigit() else code)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    (folder / "package").mkdir()
    for path in ("program.py", "package/__main__.py"):
        (folder / path).write_text(PROGRAM)
    (folder / "broken.py").write_text("x = (")
    (folder / "inner").mkdir()
    (folder / "inner" / "linked.py").symlink_to(folder / "program.py")
    return folder


@pytest.mark.parametrize(
    "words",
    [
        *(["program.py", *words] for words in ([], ["pickle"], ["error"], ["hook"], ["interrupt"], ["exit", "3"])),
        ["program.py", "exit", "in words"],
        ["program.py", "--patch-scipy", "-m", "--help", "--", "x"],
        ["./package/../program.py"],
        ["inner/linked.py"],
        ["broken.py"],
        ["package", "a", "-b"],
        ["-m", "program", "--help"],
        ["-m", "package", "error"],
        ["-m", "program", "exit", "4"],
        ["-m", "no_such_module"],
        ["-m", "no_such_package.module"],
    ],
    ids=" ".join,
)
def test_it_works_as_python_does(folder, words):
    want, got = (run(*start, *words, cwd=folder, check=False) for start in ([], ["-m", "fastconv", "run"]))
    assert got.returncode == want.returncode
    assert got.stdout == want.stdout
    assert got.stderr == want.stderr
    assert want.stdout or want.stderr


def test_a_program_that_is_not_there(folder):
    done = run("-m", "fastconv", "run", "absent.py", cwd=folder, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"run: can't open file '.*absent\.py': \[Errno 2\] No such file or directory\n", done.stderr)


@pytest.mark.parametrize("words", [[], ["-m"], ["--patch-scipy"]], ids=str)
def test_no_program(folder, words):
    done = run("-m", "fastconv", "run", *words, cwd=folder, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "run: the program is missing, expected program.py or -m module\n"


def test_a_safe_path_stays_safe(folder):
    code = "import sys; print(sys.path)"
    (folder / "path.py").write_text(code)
    done = run("-P", "-m", "fastconv", "run", "path.py", cwd=folder)
    assert repr(str(folder)) not in done.stdout


def test_patched(folder):
    pytest.importorskip("scipy")
    code = "import fastconv; print(fastconv.show_config('dicts')['scipy_patched'])"
    (folder / "patched.py").write_text(code)
    for words in (["patched.py"], ["-m", "patched"]):
        assert run("-m", "fastconv", "run", "--patch-scipy", *words, cwd=folder).stdout == "True\n"
        assert run("-m", "fastconv", "run", *words, cwd=folder).stdout == "False\n"


def test_patched_without_scipy(folder):
    (folder / "program.py").touch()
    code = "import sys; sys.modules['scipy'] = None; from fastconv.cli import main; sys.exit(main())"
    done = run("-c", code, "run", "--patch-scipy", "program.py", cwd=folder, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("run: patch_scipy(): SciPy is not installed")
    assert sys.executable not in done.stdout
