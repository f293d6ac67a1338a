"""Compiled forms of standard-library modules, so that the first program in a container is quick.

Compiling all of the library would take longer than it saves; it is done for the modules that
ordinary programs import, and for pip. Files of an image have one fixed time, which the compiled
form must name.
"""

from __future__ import annotations

import importlib.util
import marshal
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from workbench.engine.bases.archive import EPOCH
from workbench.engine.bases.interpreter import Interpreter

_MODULE_NAMES: Final = """
__future__ _bootsubprocess _collections_abc _compat_pickle _compression _py_abc _sitebuiltins
_strptime _sysconfigdata _weakrefset abc argparse ast base64 bisect bz2 calendar codecs
concurrent configparser contextlib contextvars copy copyreg csv ctypes dataclasses datetime dis
enum fnmatch functools genericpath getpass gettext glob gzip hashlib heapq hmac html inspect io
ipaddress keyword linecache locale logging lzma mimetypes ntpath numbers opcode operator os
pathlib pickle pkgutil platform posixpath pprint queue quopri random reprlib runpy secrets
selectors shlex shutil signal site socket socketserver ssl stat string stringprep struct
subprocess sysconfig tarfile tempfile textwrap threading token tokenize traceback types typing
urllib uuid warnings weakref zipfile zipimport collections encodings email http importlib json re
sqlite3 unittest asyncio _pydecimal decimal fractions statistics timeit difflib bdb pdb cmd code
codeop rlcompleter py_compile compileall filecmp graphlib zoneinfo tomllib
"""
_MODULES: Final = frozenset(_MODULE_NAMES.split())
_WHOLE_ENCODINGS: Final = frozenset({"__init__", "aliases", "utf_8", "ascii", "latin_1", "idna"})
_MARSHAL_VERSION: Final = 2  # later ones depend on what else the compiling process has loaded


def compiled(source: bytes, place: str, about: Interpreter) -> Iterator[tuple[str, bytes]]:
    """The path and bytes of the ``.pyc`` of a module that will lie at ``place``.

    Nothing where only another interpreter than ours could make it.
    """
    if about.magic != importlib.util.MAGIC_NUMBER:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = compile(source, f"/{place}", "exec", dont_inherit=True, optimize=0)
    except (SyntaxError, ValueError):
        return
    header = about.magic + struct.pack("<III", 0, EPOCH, len(source) & 0xFFFFFFFF)
    folder, _, name = place.rpartition("/")
    cache = f"{folder}/__pycache__/{name.removesuffix('.py')}.{about.tag}.pyc"
    yield cache, header + marshal.dumps(code, _MARSHAL_VERSION)


def is_usual(path: Path, about: Interpreter) -> bool:
    """Whether a file of the standard library is among the modules that most programs import."""
    parts = path.relative_to(about.library).parts
    if parts[0] == "encodings":
        return path.stem in _WHOLE_ENCODINGS
    return parts[0].removesuffix(".py") in _MODULES
