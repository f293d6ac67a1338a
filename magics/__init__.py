"""The notebook face: ``%load_ext magics``, then Docker's words in cells.

In: the text of magics. Out: values with a picture (HTML and plain text), and outputs of cells.
Importing this package, and loading the extension, costs next to nothing: what carries a magic out
is imported when the magic first runs. Start reading at ``table.py`` (which magics there are), then
``perform.py`` (what happens when one runs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Make the magics known to ``shell``; called by ``%load_ext magics``."""
    from magics.install import install

    install(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away and close the engine; called by ``%unload_ext magics``."""
    from magics.install import uninstall

    uninstall(shell)
