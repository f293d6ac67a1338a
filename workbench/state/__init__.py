"""Facts that outlive a process: what was asked, and what has ended. The only user of sqlite3.

In: small frozen records. Out: the same. Whether a container runs is no fact of ours: it is derived
from the kernel each time. Start reading at ``schema.sql``, then ``database.py``.
"""
