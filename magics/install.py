"""Put the magics of ``table.py`` into a shell, and take them out again."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from magics.perform import Magic
from magics.session import Session
from magics.table import MAGICS, Entry

if TYPE_CHECKING:
    from magics.shown import Shown

# Types with a picture, by where they live, so that naming them imports nothing.
_SHOWN = (
    ("magics.tables", "Table"),
    ("magics.line.layers", "Layers"),
    ("magics.line.doctor", "Report"),
    ("magics.cell.build", "Build"),
    ("magics.run", "Run"),
    ("magics.charts.svg", "Picture"),
)


def install(shell: Any) -> None:
    """Register every magic, the completer and the formatters. A second call changes nothing."""
    if session_of(shell) is not None:
        return
    session = Session(shell)
    for entry in MAGICS:
        _keep_history_magic(shell, session, entry)
        shell.register_magic_function(Magic(session, entry), entry.kind, entry.name)
        for prefix in _prefixes(entry):
            shell.set_hook("complete_command", _completer(session, entry), str_key=prefix)
    _keep_aliases(shell, session)
    for module, name in _SHOWN:
        _register_formatters(shell, session, module, name)
    shell.events.register("pre_run_cell", session.cell_begins)
    atexit.register(session.close)


def uninstall(shell: Any) -> None:
    """Remove what ``install`` added and close the engine; containers that run go on."""
    session = session_of(shell)
    if session is None:
        return
    atexit.unregister(session.close)
    shell.events.unregister("pre_run_cell", session.cell_begins)
    session.close()
    registry = shell.magics_manager.magics
    for entry in MAGICS:
        for kind in ("line", "cell"):
            if isinstance(registry[kind].get(entry.name), Magic):
                del registry[kind][entry.name]
    for name, former in session.replaced.items():
        shell.register_magic_function(former, "line", name)
    shell.alias_manager.default_aliases = session.aliases
    for module, name in _SHOWN:
        _forget_formatters(shell, module, name)


def session_of(shell: Any) -> Session | None:
    """The session whose magics ``shell`` has; None where the extension is not loaded."""
    found = shell.magics_manager.magics["line"].get("images")
    return found.session if isinstance(found, Magic) else None


def _keep_history_magic(shell: Any, session: Session, entry: Entry) -> None:
    """IPython's own magic of the same name (``%history``) comes back on unload."""
    former = shell.find_line_magic(entry.name)
    if former is not None and not isinstance(former, Magic):
        session.replaced[entry.name] = former


def _keep_aliases(shell: Any, session: Session) -> None:
    """IPython sets up its aliases (``%rm``) anew when it resets; ours must not be in their way."""
    manager = shell.alias_manager
    names = {entry.name for entry in MAGICS}
    session.aliases = manager.default_aliases
    manager.default_aliases = [alias for alias in session.aliases if alias[0] not in names]


def _prefixes(entry: Entry) -> tuple[str, ...]:
    line, cell = "%" + entry.name, "%%" + entry.name
    return {"line": (line,), "cell": (cell,), "line_cell": (line, cell)}[entry.kind]


def _completer(session: Session, entry: Entry) -> Any:
    def complete(_shell: Any, event: Any) -> list[str]:
        from magics.complete import candidates

        return candidates(session, entry, event.text_until_cursor, event.symbol)

    return complete


def _register_formatters(shell: Any, session: Session, module: str, name: str) -> None:
    def html(value: Shown) -> str:
        return value.html()

    def text(value: Shown, printer: Any, _cycle: bool) -> None:
        printer.text(value.text())

    def once(value: Any) -> None:
        if not session.take_hushed(value):
            raise NotImplementedError  # IPython's word for: show it the ordinary way

    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type_by_name(module, name, html)
    formatters["text/plain"].for_type_by_name(module, name, text)
    shell.display_formatter.ipython_display_formatter.for_type_by_name(module, name, once)


def _forget_formatters(shell: Any, module: str, name: str) -> None:
    formatter = shell.display_formatter
    every = (
        formatter.formatters["text/html"],
        formatter.formatters["text/plain"],
        formatter.ipython_display_formatter,
    )
    for one in every:
        try:
            one.pop(f"{module}.{name}")
        except KeyError:
            continue
