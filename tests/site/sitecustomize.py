"""Coverage in every process of a test run that may run our code, Ray's workers included.

Python imports this module at start-up when its folder is on PYTHONPATH; tests/run.sh puts it there and names the settings in
TESTS_COVERAGE. A Ray worker may be killed at any time, without exit handlers, so what it has run is saved twice a second, if a
line is new: there are twenty workers, and a save takes 10 ms of CPU. Other processes save when they exit. Ray's own processes
(dashboard, agents, monitors) run none of our code and start faster unmeasured.
"""

import importlib.util
import os
import sys

_NOT_OURS = (
    "ray/dashboard/",
    "/log_monitor.py",
    "/autoscaler/",
    "/runtime_env/agent/",
    "/setup_worker.py",
    "from multiprocessing.forkserver",  # the dashboard's modules
)
_settings = os.environ.get("TESTS_COVERAGE")
_started_as = sys.orig_argv[:4]  # the interpreter, an option or two, the program

if (
    _settings
    and not any(part in word for word in _started_as for part in _NOT_OURS)
    and importlib.util.find_spec("coverage")  # not in other Pythons
):
    import threading

    import coverage

    def _keep_saving(measured: coverage.Coverage, done: threading.Event) -> None:
        saved: dict[str, set[int]] = {}
        while not done.wait(0.5):
            ran = {file: set(lines) for file, lines in list(measured._collector.data.items())}
            if any(lines - saved.get(file, set()) for file, lines in ran.items()):
                measured.save()
                for file, lines in ran.items():
                    saved.setdefault(file, set()).update(lines)

    # this variable alone would start it in Ray's own processes too, by coverage's .pth file
    os.environ["COVERAGE_PROCESS_START"] = _settings
    _measured = coverage.process_startup()
    del os.environ["COVERAGE_PROCESS_START"]
    if _measured is not None and any("default_worker" in word for word in sys.orig_argv):
        threading.Thread(target=_keep_saving, args=(_measured, threading.Event()), daemon=True).start()
