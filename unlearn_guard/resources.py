"""Find what ships beside the code: `methods/`, `tasks/` and `thresholds.yaml`.

A wheel carries them inside the package, a checkout and an editable install beside it.
"""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled(name: str) -> Path:
    """The shipped file or folder of this name. Raises FileNotFoundError: the installation is broken."""
    for folder in (_PACKAGE, _PACKAGE.parent):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(
        f"{name} should ship with unlearn-guard but is not beside {_PACKAGE}; reinstall the package"
    )
