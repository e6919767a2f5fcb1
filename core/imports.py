"""Names of a package that are imported when they are first asked for."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

from pocketlens.quiet import quiet


def lazy_names(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` (PEP 562) that imports names from the package's modules.

    So the command line can import a package's commands without TensorFlow behind them. What
    libraries print while they are imported is held back.

    Args:
        package: `__name__` of the package.
        modules: for each name the module that has it, by its whole name.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with quiet():
            module = importlib.import_module(modules[name])
        return getattr(module, name)

    return load
