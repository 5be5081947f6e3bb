"""Which sources a process runs: what tells machine code of one version from that of another.

Modules are imported when they are first needed, and files may change meanwhile, by an upgrade under a running process.
So what files look like is noted before any of them is read, and their hash counts only while none has changed since:
what a process has imported is then what was hashed.
"""

import os
from pathlib import Path


class Sources:
    """The Python files in some folders, as they are when this is made."""

    def __init__(self, *folders):
        self._folders = folders
        self._digest = None
        try:
            self._noted = self._stamps()
        except OSError:  # one is being replaced
            self._noted = None

    def hash(self):
        """Hash of all files; None, from then on, if one has changed since this was made, or there are none."""
        try:
            if self._digest is None:
                self._digest = self._read()
            unchanged = self._stamps() == self._noted
        except OSError:
            unchanged = False
        return self._digest if unchanged and self._noted else None

    def _read(self):
        import hashlib

        digest = hashlib.sha256()
        for name, path in sorted(self._paths()):
            content = Path(path).read_bytes()
            digest.update(f"{name} {len(content)} ".encode() + content)
        return digest.hexdigest()

    def _stamps(self):
        """What changes whenever a file is written, or replaced by another."""
        stamps = {}
        for _, path in self._paths():
            found = os.stat(path)
            stamps[path] = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        return stamps

    def _paths(self):
        for folder in self._folders:
            for root, _, names in os.walk(folder):
                for name in names:
                    if name.endswith(".py"):
                        path = os.path.join(root, name)
                        yield Path(path).relative_to(folder).as_posix(), path


KERNELS = Sources(Path(__file__).parent)
