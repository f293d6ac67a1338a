"""Line magics, one file per magic: each has ``COMMAND``, its grammar and what it does.

In: a ``Call`` with parsed arguments. Out: the value of the cell. Start reading at ``images.py``.
"""
