"""How the commands start and how they fail: a user's mistake is one sentence and exit status 1, never a traceback."""

import atexit
import difflib
import errno
import logging as python_logging
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NoReturn

import jax
from absl import app, flags, logging

from ssl_jax.paths import expand
from ssl_jax.recipes import config_module
from ssl_jax.run import cluster

PACKAGE = str(Path(__file__).parents[1])
DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ELOOP,
)  # fmt: skip
ALTERNATIVES = (("train.steps", "train.epochs"), ("optim.warmup_steps", "optim.warmup_epochs"))
CONFIGS = str(Path(__file__).parents[2] / "configs")


def run(main: Callable[..., int | None], arguments: int = 0) -> None:
    """Parses the flags, joins the other processes if there are any, calls `main()` and exits with its status.

    `arguments`: how many words behind the flags `main` takes at most.
    """

    logging.set_verbosity(logging.WARNING)  # checkpointing says much that is of no use here
    python_logging.getLogger("asyncio").setLevel(python_logging.CRITICAL)  # of failed writes, which are reported
    cluster.define_flags()

    def parse(argv):
        for word in argv[1:]:
            if re.fullmatch(r"--?\w+=", word):
                _refuse(f"{word} is empty; give it a value, or leave it out")
        try:
            rest = flags.FLAGS([_expanded(word) for word in argv])
            if "config" in flags.FLAGS:
                flags.FLAGS.config.items()  # a config file that cannot be read says so only when it is used
            return rest
        except SyntaxError as error:
            place = f"{error.filename or _asked()[0]}, line {error.lineno or 1}"
            _refuse(f"{place} is no valid Python ({error.msg}); --config expects a file such as configs/simclr.py")
        except Exception as error:  # whatever a config file raises
            _refuse(_explain(error))

    def guarded(argv):
        if len(argv) > 1 + arguments:
            _refuse(f"{argv[1 + arguments]!r} is not a flag; write every option as --name=value")
        try:
            cluster.join()
            sys.exit(main(*argv[1:]))
        except ValueError as error:
            # An error that this project raised is meant for the user; any other ValueError is a defect to be seen.
            if cluster.lost_another(error):
                cluster.abandon(error)
            origin = traceback.extract_tb(error.__traceback__)[-1].filename
            if origin.startswith((PACKAGE, CONFIGS)):
                _refuse(str(error))
            raise
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            place = f"{error.filename}: " if error.filename else ""
            _refuse(f"{place}{error.strerror}; make room there, or give a place that may be written")
        except jax.errors.JaxRuntimeError as error:
            if cluster.lost_another(error):
                cluster.abandon(error)
            raise

    try:
        app.run(guarded, flags_parser=parse)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        leave(128 + signal.SIGINT)


def leave(status: int) -> NoReturn:
    """Ends a command that was interrupted: its exit handlers run, and what it still computes is left behind.

    Python's own end takes the machine from under computations that nobody waits for any more: a segmentation fault.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def replace_alternatives(config, given: Collection[str]) -> list[str]:
    """Of two keys of which one may be set, the one given on the command line replaces the recipe's other one.

    Args:
      config: changed in place.
      given: dotted keys that the command line has.

    Returns:
      A line for each that was replaced.
    """
    said, held = [], config.to_dict()
    for pair in ALTERNATIVES:
        for mine, other in (pair, pair[::-1]):
            (section, name), (_, replaced) = mine.split("."), other.split(".")
            value, recipes = (held.get(section, {}).get(key) for key in (name, replaced))
            if mine in given and other not in given and value and recipes:
                config[section][replaced] = 0
                said += [f"{'given':<12}config.{mine}={value:g}, in place of the recipe's config.{other}={recipes:g}"]
    return said


def _refuse(sentence: str) -> None:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    sys.exit(1)


def _expanded(word: str) -> str:
    """A word of the command line; a config file in the home directory, `--config=~/...`, by its full path."""
    name, _, value = word.partition("=")
    return f"{name}={expand(value)}" if name == "--config" and value.startswith("~") else word


def _asked() -> tuple[str, str]:
    """The file and the recipe that the command line names, "" for none."""
    asked = next((_expanded(word).partition("=")[2] for word in sys.argv if word.startswith("--config=")), "")
    path, _, recipe = asked.partition(":")
    return path, recipe


def _explain(error: Exception) -> str:
    """An error of flag parsing as one sentence; for a config key that does not exist, with the nearest that does."""
    text = str(error)
    if "Traceback" in text:  # of the config file: what it raised is the last line
        text = re.sub(r"^\w*Error: ", "", text.strip().splitlines()[-1].strip())
    path, recipe = _asked()
    if not path:
        return f"{text.rstrip('.')}; name a recipe, such as --config=configs/simclr.py:digits"
    if not Path(path).is_file():
        return f"--config={path} was given, but there is no file {path}; python -m ssl_jax.recipes lists the recipes"
    try:
        get_config = config_module(Path(path)).get_config
    except AttributeError:
        return f"{path} has no function get_config(recipe); --config expects a file such as configs/simclr.py"
    except Exception as raised:
        return _raised(path, raised)
    overrides = [word.removeprefix("--config.").split("=")[0] for word in sys.argv if word.startswith("--config.")]
    try:
        known = _keys(get_config(*[recipe] if recipe else []))
    except (ValueError, AttributeError):  # of another recipe, or of no config at all
        return text
    except Exception as raised:
        return _raised(path, raised)
    for name in overrides:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean --config.{nearest[0]}?" if nearest else f"; its keys are {', '.join(sorted(known))}"
            return f"The config has no key {name!r}{hint}"
    return text


def _raised(path: str, error: Exception) -> str:
    reason = f"{type(error).__name__}: {error}"
    return f"{path} raises {reason}; mend it, or give a file such as configs/simclr.py to --config"


def _keys(config, prefix: str = "") -> list[str]:
    keys = []
    for name, value in config.items():
        keys += _keys(value, f"{prefix}{name}.") if hasattr(value, "items") else [prefix + name]
    return keys
