"""Links, addresses and names: how containers reach each other and the world.

In: frozen ``Network`` and ``Endpoint`` values and the pid of a container that waits for its start.
Out: bridges, veth pairs, nftables rules and names that are there, or an error and nothing half
made. What is asked is decided as data first (``nat.plan``, ``links``), then sent to the kernel.
Start reading at ``driver.py``, then ``bridge.py`` and ``nat.py``; ``warden.py`` is the one process.
"""
