"""``RunOptions`` + image configuration + host -> runtime spec: pure functions, one per section.

In: ``Inputs``, which holds everything that was found out beforehand (the user's numeric ids, the
volumes' places, the files made for the container). Out: ``oci.runtime_spec.Spec``.
Start reading at ``assemble.py``.
"""
