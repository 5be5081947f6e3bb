"""Files of machine code: read where nobody else can have written them, written whole or not at all.

What a file holds is unpickled and run: who writes it can do whatever the user may who reads it. So files, and the
folders that this module makes for them, have to belong to the user or to the superuser, and nobody else may write them.

A file begins with a hash of its own name, its folder's and its content: damaged machine code, or that of another kernel
or version, would end the process.
"""

import hashlib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

_DIGEST = hashlib.sha256().digest_size
_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def base(asked):
    """Folder of all that is kept: the one that is asked for, else the user's cache folder; None if there is none."""
    if asked:
        try:
            return Path(asked).absolute()
        except OSError:  # it is relative to a working directory that is gone
            return None
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", tempfile.gettempdir()))
    if sys.platform == "darwin":
        found = Path(os.path.expanduser("~/Library/Caches"))
    else:
        found = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return found if found.is_absolute() else None  # without a home, "~" stays as it is


def open_folder(base, name):
    """The folder of a name, made if need be, which may be one for reading only; None if there is none to be trusted."""
    folder = base / "fastconv"
    try:
        base.mkdir(parents=True, exist_ok=True)
        for path in (folder, folder / name):
            path.mkdir(mode=0o755, exist_ok=True)
    except OSError:  # what is there may do
        pass
    return folder / name if is_trusted(folder, os.path.isdir) and is_trusted(folder / name, os.path.isdir) else None


def is_trusted(path, is_kind):
    """Whether a file or folder is there that nobody can have written but the user and the superuser.

    Of a link, the place that it leads to, too: anybody can make one that leads to another's files.
    """
    try:
        link, found = os.lstat(path), os.stat(path)
    except OSError:
        return False
    if not is_kind(path):
        return False
    if not hasattr(os, "geteuid"):  # on Windows folders of users are their own, and tell nothing by such numbers
        return True
    return {link.st_uid, found.st_uid} <= {0, os.geteuid()} and not found.st_mode & _OTHERS


def read(path):
    """What a file holds; None where there is none that is whole, its own and to be trusted."""
    if not is_trusted(path, os.path.isfile):
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, payload = content[:_DIGEST], content[_DIGEST:]
    return payload if digest == _digest(path, payload) else None


def write(path, payload):
    """Keep a file where that is possible: a full disk, or a folder for reading only, costs the next process time."""
    whole = path.with_name(f"tmp{os.urandom(8).hex()}")
    try:
        # Whatever the user's mask is, others are not to write it.
        with open(whole, "xb", opener=lambda name, flags: os.open(name, flags, 0o644)) as file:
            file.write(_digest(path, payload) + payload)
        os.replace(whole, path)
    except OSError:
        with suppress(OSError):
            os.unlink(whole)


def _digest(path, payload):
    return hashlib.sha256(f"{path.parent.name}/{path.name} ".encode() + payload).digest()
