"""Bytes on disk: blobs by digest, and file trees by chain id. Knows no database and no tags' owner.

In: descriptors, streams of bytes, images. Out: verified blobs, committed snapshots, mounts.
The blobs are an OCI image layout, so that other tools read the store as it stands.
Start reading at ``content.py``, then ``snapshots.py``, then ``layer.py``.
"""
