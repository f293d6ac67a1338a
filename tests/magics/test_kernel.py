"""Magics in a real kernel: what the notebook receives, while things happen and when stopped."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


def test_a_table_comes_as_html_and_as_text(kernel: Any) -> None:
    seen = kernel.run("%images")
    assert "<table" in seen.result["text/html"] and "toolbox:latest" in seen.result["text/plain"]


def test_a_build_updates_one_display_and_ends_as_a_still_picture(kernel: Any) -> None:
    seen = kernel.run("%%dockerfile -t app\nFROM toolbox\nRUN sleep 0.4\nCMD x\n")
    assert seen.error is None and seen.result is None
    assert len(seen.shown) == 1 and len(seen.updates) >= 3
    assert any("running" in update["text/plain"] for update in seen.updates)
    last = seen.updates[-1]
    assert "running" not in last["text/plain"] and "done" in last["text/html"]
    assert "Build of app" in last["text/html"] and "<script" not in last["text/html"]
    seen = kernel.run("%%dockerfile -t app\nFROM toolbox\nRUN sleep 0.4\nCMD x\n")
    assert "1 from cache" in seen.updates[-1]["text/plain"]


def test_a_quiet_build_shows_nothing(kernel: Any) -> None:
    seen = kernel.run("%%dockerfile -q -o built\nFROM toolbox\nRUN quiet\n")
    assert (seen.shown, seen.updates, seen.result, seen.stdout) == ([], [], None, "")
    assert kernel.run("built.result.seconds >= 0").result["text/plain"] == "True"


def test_a_failed_step_leaves_its_mark_and_the_error_has_no_python_in_it(kernel: Any) -> None:
    seen = kernel.run("%%dockerfile -t app\nFROM toolbox\nRUN fail\n")
    assert seen.error["ename"] == "BuildFailed"
    traceback = "\n".join(seen.error["traceback"])
    assert "RUN fail" in traceback and ".py" not in traceback
    assert "failed" in seen.updates[-1]["text/plain"]


def test_output_is_the_cells_own_and_in_order(kernel: Any) -> None:
    seen = kernel.run("%run_container --rm toolbox both")
    assert seen.stdout == "out 0\nout 1\nout 2\n" and seen.stderr == "err 0\nerr 1\nerr 2\n"
    assert "".join(text for _, text in seen.order) == "".join(
        f"out {number}\nerr {number}\n" for number in range(3)
    )
    assert seen.result is None
    seen = kernel.run("%run_container --rm toolbox split")
    assert seen.stdout == "café \ufffd"


def test_a_script_runs_as_a_cell(kernel: Any) -> None:
    seen = kernel.run("%%run_container --rm --shell bash toolbox\necho one\necho two\n")
    assert seen.stdout == "-c echo one\necho two\n\n"


def test_a_container_in_the_background_answers_with_a_card(kernel: Any) -> None:
    seen = kernel.run("%run_container -d --name card toolbox sleep 9")
    assert "running" in seen.result["text/html"] and "%logs card" in seen.result["text/html"]
    kernel.run("%rm -f card;")


@pytest.mark.parametrize(
    "code,sign",
    [
        ("%run_container --rm toolbox sleep 30", "sleeping"),
        ("%%dockerfile -t slow\nFROM toolbox\nRUN sleep 30\n", "running"),
    ],
)
def test_an_interrupt_stops_within_two_seconds_and_the_cell_fails(
    kernel: Any, code: str, sign: str
) -> None:
    seen = kernel.run(code, interrupt_after=sign)
    assert seen.error["ename"] == "KeyboardInterrupt" and seen.after < 2
    assert ".py" not in "\n".join(seen.error["traceback"])
    if seen.updates:
        assert "stopped" in seen.updates[-1]["text/plain"]


def test_completion_reaches_the_notebook(kernel: Any) -> None:
    assert "%layers toolbox:latest" in kernel.complete("%layers toolb")
    assert "%layers toolbox:latest" in kernel.complete("%layers toolbox:la")
    assert "%images --all" in kernel.complete("%images --a")


def test_help_is_what_a_question_mark_shows(kernel: Any) -> None:
    message = kernel.client.inspect("%images")
    reply = kernel.client.get_shell_msg(timeout=20)
    while reply["parent_header"].get("msg_id") != message:
        reply = kernel.client.get_shell_msg(timeout=20)
    assert "List the images of the store." in reply["content"]["data"]["text/plain"]


def test_run_all_stops_at_the_first_failure(setup_code: str) -> None:
    cells = [
        setup_code,
        "%load_ext magics",
        "%base toolbox;",
        "%run_container toolbox fail",
        "print('never')",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    with pytest.raises(CellExecutionError, match="ended with exit code 3"):
        NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert notebook.cells[4].execution_count is None
    assert notebook.cells[3].outputs[-1]["ename"] == "ContainerFailed"
