"""The quickstart runs from top to bottom on this machine, and shows what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient


@pytest.mark.kernel
@pytest.mark.slow
def test_the_quickstart_runs(folder: Path) -> None:
    notebook = nbformat.read(folder / "00-quickstart.ipynb", as_version=4)
    client = NotebookClient(
        notebook,
        timeout=240,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = {cell.source: _text(cell) for cell in cells}

    def of(start: str, occurrence: int = 0) -> str:
        return [text for source, text in shown.items() if source.startswith(start)][occurrence]

    assert "python:3.11-slim" in of("%base")
    first, again = of("%%dockerfile -t hello my-app"), of("%%dockerfile -t hello my-app -o")
    assert "Build of hello" in first and "RUN pip install" in first
    assert "from cache" not in first and "4 from cache" in again
    runs = [_text(cell) for cell in cells if cell.source == "%run_container --rm hello"]
    assert "Hello from" in runs[0] and "process 1" in runs[0]
    assert "Hello again from" in runs[1]
    assert "/app:        main.py" in of("%%run_container")
    assert of("%%run_container").rstrip().endswith("processes:   1")
    assert "Layers of hello" in of("%layers")
    assert "a_package_that_nobody_wrote" in of("%%dockerfile -t broken")
    assert "hello:latest" in of("%images")
    # With or without a network, the notebook says in words what came of PyPI.
    tried, built = of("from magics.errors"), of("textbook")
    assert ("PyPI answers" in tried) != ("cannot install from PyPI" in tried)
    assert ("Skipped" in built) == ("cannot install from PyPI" in tried)


def _text(cell: Any) -> str:
    """Everything that the cell shows, as plain text."""
    parts = []
    for output in cell.outputs:
        if output.output_type == "stream":
            parts.append(output.text)
        elif output.output_type == "error":
            parts += output.traceback
        else:
            parts.append(output.data.get("text/plain", ""))
    return "\n".join(parts)
