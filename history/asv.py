"""asv, with what it knows about machines in `.asv/` instead of the home directory: `python -m history.asv run ...`."""

import json
import os
import platform
import sys

from asv import main
from asv.machine import Machine, MachineCollection

from history import RESULTS, ROOT

MachineCollection.get_machine_file_path = staticmethod(lambda: str(ROOT / ".asv" / "machine.json"))
DEFAULT_MACHINE = "local"


def name_machine(name: str) -> None:
    """Tell asv about this machine: what is stored with its results, or else what asv finds, without the host's name."""
    stored = RESULTS / name / "machine.json"
    if stored.exists():
        facts = json.loads(stored.read_text(encoding="utf-8"))
        del facts["version"]
    else:
        facts = {**Machine.get_defaults(), "machine": name, "os": platform.system()}
    (ROOT / ".asv").mkdir(exist_ok=True)
    MachineCollection.save(name, facts)


if __name__ == "__main__":
    # One thread of every library, so that a curve shows the code and not the machine's other work; before any process
    # begins, since threads that were started for several processors and are then bound to one wait for each other.
    for variable in ("FASTCONV_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    if sys.argv[1:2] in (["run"], ["find"]):  # which ask for the machine where none is known yet
        if "--machine" not in sys.argv:
            sys.argv[2:2] = ["--machine", DEFAULT_MACHINE]
        name_machine(sys.argv[sys.argv.index("--machine") + 1])
    if sys.argv[1:2] == ["find"]:  # of one benchmark only: not a result to keep
        sys.argv.insert(2, "--skip-save")
    main.main()
