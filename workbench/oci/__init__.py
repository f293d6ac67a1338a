"""The formats of the Open Container Initiative as frozen values: pure data, no I/O.

In: bytes and text (JSON documents, references, digests). Out: values, and bytes again; a document
that was read is written back with the keys that we do not know.
Start reading at ``descriptor.py``, then ``image.py``.
"""
