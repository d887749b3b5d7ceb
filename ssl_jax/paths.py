"""The door of paths: what a user writes for a file or a directory, in a command, a config or a call."""

import os
from pathlib import Path


def expand(text) -> Path:
    """The path that a text or a path names; `~` and `~user` are the home directory, whoever expands them or not.

    Raises:
      ValueError: there is no such home directory, or the text cannot be a path.

    >>> expand("~/runs").is_absolute(), expand("runs").is_absolute()
    (True, False)
    """
    try:
        found = Path(text).expanduser()
    except RuntimeError as error:
        raise ValueError(f"{text} begins with a home directory that is not known; write the path in full") from error
    if "\0" in str(found):
        raise ValueError(f"{str(text)!r} has a zero byte in it and is no path; write it anew")
    return found


def output(text, *, folder: bool = False) -> Path:
    """The path of a file, or of a folder, that is to be written; nothing is made.

    Raises:
      ValueError: nothing can be made there; said before the work that would be lost.
    """
    found = expand(text)
    wanted = (found if folder else found.parent).absolute()
    there = next(place for place in (wanted, *wanted.parents) if os.path.exists(place))
    if not there.is_dir():
        raise ValueError(f"{found} cannot be made, because {there} is a file; give another place")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{found} cannot be made, because {there} may not be written; give another place")
    if not folder and found.is_dir():
        raise ValueError(f"{found} is a directory; give the name of a file")
    return found
