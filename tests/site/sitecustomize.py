"""Coverage in every process of a test run, Ray's workers included.

Python imports this module at start-up when its folder is on PYTHONPATH (tests/run.sh puts it there). A Ray worker may be
killed at any time, without exit handlers, so what it ran is saved twice a second. Other processes save when they exit.
"""

import importlib.util
import os
import sys

if os.environ.get("COVERAGE_PROCESS_START") and importlib.util.find_spec("coverage"):  # not in other Pythons
    import threading

    import coverage

    def _keep_saving(measured: coverage.Coverage, done: threading.Event) -> None:
        while not done.wait(0.5):
            measured.save()

    # coverage's own .pth file may have been first: then the instance is where it left it
    _measured = coverage.process_startup() or getattr(coverage.process_startup, "coverage", None)
    if _measured is not None and any("default_worker" in word for word in sys.orig_argv):
        threading.Thread(target=_keep_saving, args=(_measured, threading.Event()), daemon=True).start()
