"""The kernel's door: thin functions over system calls. No policy; failures are OSError.

In: plain values. Out: what the kernel says. Nothing else in the project imports ctypes.
Start reading at ``libc.py``, then ``mount.py``.
"""
