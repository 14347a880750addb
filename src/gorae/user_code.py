"""Functions of the user's own, named ``file.py:function`` in a setting."""

import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from gorae.errors import ConfigError


def load_function(spec: str, folder: Path, *, setting: str) -> Callable[..., Any]:
    """The function that ``spec`` (``file.py:function``) names. The file is run as it is.

    Args:
        spec: The file, relative to ``folder``, a colon, and the function's name.
        folder: The competition's folder.
        setting: Name of the setting, for messages.

    Raises:
        ConfigError: The file or the function is missing, or the file cannot be run.
    """
    file_name, _, function_name = spec.rpartition(":")
    path = folder / file_name
    if not file_name or not path.is_file():
        raise ConfigError(
            f"{setting} {spec!r}: there is no file {path}. A {setting} of your own is given as "
            "'file.py:function', the file in the competition's folder."
        )
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    try:
        # Not imported: that would write __pycache__ into the user's folder.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102 - the user's own code, asked for by name
    except Exception as error:
        raise ConfigError(
            f"{setting} {spec!r}: {path.name} cannot be run: {error_place(error, path)}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        known = [name for name, item in vars(module).items() if _is_own(item, module)]
        raise ConfigError(
            f"{setting} {spec!r}: {path.name} has no function {function_name!r}; it has "
            f"{', '.join(known) or 'none'}."
        )
    found: Callable[..., Any] = function
    return found


def _is_own(item: object, module: ModuleType) -> bool:
    return callable(item) and getattr(item, "__module__", None) == module.__name__


def error_place(error: Exception, path: Path) -> str:
    """The error and the last line of the user's file it passed through."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__} in line {error.lineno}: {error.msg}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f" in line {lines[-1]}" if lines else ""
    return f"{type(error).__name__}{where}: {error}"
