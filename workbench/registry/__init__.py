"""A client of OCI distribution 1.1 registries: images in, images out, over HTTP.

In: references, descriptors, byte streams, and ``Settings`` with the credentials of the user.
Out: descriptors, verified bytes, progress events; every failure is one of ``workbench.errors``.

Everything blocks, and everything may be shared by threads. Nothing is logged. A secret goes to the
host it belongs to, after that host has asked for it, and nowhere else: not to where a redirect
leads, and into no message and no ``repr``.

The parts, from the wire upwards::

    settings      what the engine may configure
    hosts         names -> addresses, pure
    proxies       which proxy serves a URL, pure
    tls           certificates by host
    http          one request, one answer: the only importer of urllib3
    retry         what may be repeated, and after how long
    challenge     WWW-Authenticate, parsed
    failures      a registry's errors -> ours, pure
    config_file   Docker's config.json, changed whole
    credentials   who we are: that file and its helpers
    auth          challenge -> authorization
    session       one call: authorization, redirects, retries
    calls         paths, scopes, mirrors and pages of one repository
    documents     what kind of manifest an answer holds, pure
    blobs         a download that survives broken connections
    uploads       monolithic and chunked uploads that resume
    client        Repository: the specification's verbs
    parallel      bounded workers, results and progress in order
    pull, push    the layers of an image at once
    login         log in, log out

Start reading at ``client.py``, then ``session.py``.
"""
