"""Detectors that come as packages: what they are, where they lie, how they are examined and loaded, what they may use.

- what a package is: archive.py (zips within limits), package.py (folder, zip or wheel → `Package`), requirements.py (pins);
- where it lies: store.py (`PackageStore`, by digest), cache.py (what a node has unpacked);
- what stands for its detector where its code must not run: packaged.py (`Packaged`), describing.py (as JSON);
- running it: limits.py (`Limits`, `Guest`), loading.py, watching.py; examine.py (`examine`: whether it can be deployed).
"""

from actors.packages.errors import PackageRefused
from actors.packages.limits import Guest, Limits
from actors.packages.package import Package, read_package, read_package_bytes
from actors.packages.packaged import Packaged, resolve
from actors.packages.store import PackageStore

__all__ = [
    "Guest",
    "Limits",
    "Package",
    "PackageRefused",
    "PackageStore",
    "Packaged",
    "read_package",
    "read_package_bytes",
    "resolve",
]
