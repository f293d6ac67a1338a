"""Magics in a shell: values, silence, errors that keep their type, completion."""

from __future__ import annotations

from typing import Any

import pytest
from fake_engine import FakeEngine
from IPython.core.interactiveshell import InteractiveShell

from magics.tables import Table
from workbench.errors import Conflict, ImageNotFound, InvalidInput


def run(shell: InteractiveShell, code: str) -> Any:
    return shell.run_cell(code)


def test_a_list_is_a_value(shell: InteractiveShell, engine: FakeEngine) -> None:
    found = shell.run_line_magic("images", "")
    assert isinstance(found, Table) and found.df["name"].tolist() == ["toolbox:latest"]


def test_o_keeps_and_a_semicolon_silences(shell: InteractiveShell, engine: FakeEngine) -> None:
    assert shell.run_line_magic("images", "-o kept ;") is None
    assert isinstance(shell.user_ns["kept"], Table)


def test_q_returns_the_value_and_shows_nothing_unless_it_is_named_again(
    shell: InteractiveShell, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(shell.run_line_magic("images", "-q"), Table)
    run(shell, "%images -q")
    assert "toolbox" not in capsys.readouterr().out
    run(shell, "x = %images -q\nx")
    assert "toolbox" in capsys.readouterr().out
    run(shell, "y = %run_container --rm toolbox true")
    run(shell, "y")
    assert "exited (0)" in capsys.readouterr().out


def test_variables_of_python_stand_in_lines(shell: InteractiveShell, engine: FakeEngine) -> None:
    shell.user_ns["image"] = "toolbox"
    run(shell, "%run_container --rm {image} sh -c 'echo $HOME'")
    assert engine.containers.asked[-1].command == ("sh", "-c", "echo $HOME")


def test_errors_keep_their_type_and_draw_themselves(
    shell: InteractiveShell, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(shell, "%layers nowhere")
    assert type(result.error_in_exec) is ImageNotFound
    shown = capsys.readouterr().out
    assert "No such image: nowhere" in shown and "Hint:" in shown
    assert "Traceback" not in shown and ".py" not in shown
    with pytest.raises(ImageNotFound):
        shell.run_line_magic("layers", "nowhere")


def test_a_failed_build_shows_the_place_and_the_last_output(
    shell: InteractiveShell, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(shell, "%%dockerfile -t app\nFROM toolbox\nRUN fail\n")
    assert type(result.error_in_exec).__name__ == "BuildFailed"
    shown = capsys.readouterr().out
    assert "> 2 | RUN fail" in shown and "│ it <broke>" in shown and "code 3" in shown


def test_a_failed_container_fails_the_cell_and_its_output_is_kept(
    shell: InteractiveShell, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run(shell, "%run_container -o r --name bad toolbox fail")
    error = result.error_in_exec
    assert type(error).__name__ == "ContainerFailed" and (error.name, error.code) == ("bad", 3)
    assert "container bad (toolbox) ended with exit code 3" in capsys.readouterr().out
    assert shell.user_ns["r"].stderr == "something is wrong\n"


def test_the_text_of_a_build_in_a_terminal(
    shell: InteractiveShell, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%%dockerfile -t app -o built\nFROM toolbox\nRUN hello\n")
    shown = capsys.readouterr().out
    assert "Step 2/2 : RUN hello\ndoing hello\n ---> " in shown
    built = shell.user_ns["built"]
    assert built.names == ("app:latest",) and built.df["cached"].tolist()[1] is False
    assert built.df["state"].tolist() == ["done", "done"]
    assert "Build of app:latest" in built.text() and "Build of app:latest" in built.html()


def test_a_context_that_is_no_folder_says_where_it_was_looked_for(
    shell: InteractiveShell, engine: FakeEngine
) -> None:
    result = run(shell, "%%dockerfile -t app ./nowhere\nFROM toolbox\n")
    assert isinstance(result.error_in_exec, InvalidInput)
    assert "nowhere" in result.error_in_exec.hint


def test_input_of_a_foreground_container_is_closed(
    shell: InteractiveShell, engine: FakeEngine
) -> None:
    run(shell, "%run_container -it --rm toolbox true")
    run(shell, "%run_container -it -d --name back toolbox true")
    front, back = engine.containers.asked[-2:]
    assert (front.interactive, front.tty) == (False, False)
    assert (back.interactive, back.tty) == (True, True)


def test_containers_are_listed_stopped_and_removed(
    shell: InteractiveShell, engine: FakeEngine
) -> None:
    run(shell, "%run_container -d --name web toolbox sleep 9")
    assert [row.name for row in shell.run_line_magic("ps", "")] == ["web"]
    with pytest.raises(Conflict):
        shell.run_line_magic("rm", "web")
    assert shell.run_line_magic("stop", "web")[0].exit_code == 143
    assert len(shell.run_line_magic("ps", "")) == 0
    assert shell.run_line_magic("ps", "-a").df["exit_code"].tolist() == [143]
    shell.run_line_magic("rm", "web")
    assert len(shell.run_line_magic("ps", "-a")) == 0


def test_logs_join_split_characters(
    shell: InteractiveShell, engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    run(shell, "%run_container -d --name web toolbox sleep 9")
    capsys.readouterr()
    run(shell, "%logs -o text web")
    shown = capsys.readouterr()
    assert shown.out.startswith("out ✓\n") and shown.err == "err\n"
    assert shell.user_ns["text"] == "out ✓\nerr\n"


def test_layers_have_a_frame_a_table_and_a_drawing(
    shell: InteractiveShell, engine: FakeEngine
) -> None:
    run(shell, "%%dockerfile -t app\nFROM toolbox\nRUN hello\nCMD x\n")
    layers = shell.run_line_magic("layers", "app")
    assert layers.df["size"].sum() == layers.size > 48_000_000
    assert layers.df["shared_with"].tolist()[0] == 1
    assert "<svg" in layers.html() and "▒" in layers.text()
    assert shell.run_line_magic("history", "app").rows == layers.rows


def test_the_doctor_says_what_would_mend_it(shell: InteractiveShell, engine: FakeEngine) -> None:
    report = shell.run_line_magic("doctor", "")
    assert "run as root" in report.html() and "1 of 2 capabilities" in report.text()


@pytest.mark.parametrize(
    "line,expected",
    [
        ("%images --a", ["--all"]),
        ("%layers too", ["toolbox", "toolbox:latest"]),
        ("%layers toolbox:la", ["latest"]),
        ("%run_container --rm --net", ["--net", "--net-alias", "--network", "--network-alias"]),
        ("%run_container --network bac", ["backend"]),
        ("%run_container --rm tool", ["toolbox", "toolbox:latest"]),
        ("%run_container toolbox tool", []),
        ("%%run_container --sh", ["--shell", "--shm-size"]),
        ("%rm we", ["web"]),
        ("%rm other we", ["web"]),
        ("%base pyt", ["python"]),
        ("%%dockerfile --no", ["--no-cache"]),
    ],
)
def test_completion(
    shell: InteractiveShell, engine: FakeEngine, line: str, expected: list[str]
) -> None:
    from magics.complete import candidates
    from magics.install import session_of

    run(shell, "%run_container -d -q --name web toolbox sleep 9")
    session = session_of(shell)
    assert session is not None
    name = line.split()[0].lstrip("%")
    entry = next(entry for entry in _entries() if entry.name == name)
    symbol = line.split()[-1].rpartition(":")[2]
    assert candidates(session, entry, line, symbol) == expected


def _entries() -> Any:
    from magics.table import MAGICS

    return MAGICS


def test_one_engine_serves_the_shell_and_is_closed_once(shell: InteractiveShell) -> None:
    opened, closed = FakeEngine.opened, FakeEngine.closed
    run(shell, "%images ;")
    run(shell, "%ps ;")
    shell.run_line_magic("unload_ext", "magics")
    assert (FakeEngine.opened - opened, FakeEngine.closed - closed) == (1, 1)
