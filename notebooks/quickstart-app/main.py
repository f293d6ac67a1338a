import os
import platform

from postcard import card

print(
    card(
        f"Hello from {platform.node()}!\nPython {platform.python_version()}, process {os.getpid()}"
    )
)
