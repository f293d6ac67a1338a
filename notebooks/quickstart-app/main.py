import os
import platform

from postcard import card

name = platform.node()
print(card(f"Hello from {name}!\nHere I am process {os.getpid()}."))
