"""The command ``workbench``: docker's grammar in a shell, one thin skin over the engine.

In: arguments. Out: text on standard output, errors in one paragraph on standard error, Docker's
exit codes. Start reading at ``main.py``, then the noun in ``commands/``.
"""
