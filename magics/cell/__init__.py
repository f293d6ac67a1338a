"""Cell magics: the body of the cell is a Dockerfile or a script.

In: a ``Call`` with parsed arguments and the body. Out: the value of the cell.
Start reading at ``dockerfile.py``.
"""
