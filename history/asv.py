"""asv, with what it knows about machines in `.asv/` instead of the home directory: `python -m history.asv run ...`."""

import json
import os
import platform

from asv import main
from asv.machine import Machine, MachineCollection

from history import RESULTS, ROOT

MachineCollection.get_machine_file_path = staticmethod(lambda: str(ROOT / ".asv" / "machine.json"))


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
    for name in ("FASTCONV_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    main.main()
