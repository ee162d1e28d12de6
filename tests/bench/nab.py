"""The Numenta Anomaly Benchmark: python tests/bench/nab.py FOLDER [--detector NAME] [--output json].

FOLDER holds `windows.json` or `labels/combined_windows.json` (file → list of [first, last] time) and `data/*/*.csv`
(timestamp, value), as the benchmark has them; labelled files that are not there are left out. Each file is one series from a
new state; what is scored is the detector's signal. There is nothing to choose per file: one detector with one threshold.
Prints a line per file, and the normalised score of all under the three profiles.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models import Detector, judge
from models.anomaly import RobustZ
from models.esd import SlidingEsd
from models.half_space_trees import HalfSpaceTrees
from models.nab import PROFILES, FileScore, score_file, total, window_rows
from models.novelty import Novelty

DETECTORS: Mapping[str, Callable[[], Detector]] = {
    "novelty": Novelty,
    "half_space_trees": lambda: HalfSpaceTrees(threshold=0.05, refractory=200, window=100),
    "robust_z": lambda: RobustZ(window=200, threshold=10.0, min_rows=100, refractory=200),
    "esd": lambda: SlidingEsd(window=200, max_outliers=3, alpha=1e-4, min_rows=100, refractory=200),
}


def milliseconds(text: str) -> int:
    """Return a timestamp of the benchmark, which has no zone, as milliseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return times in ms and values, (n,) each."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return np.array([milliseconds(row[0]) for row in rows], np.int64), np.array([float(row[1]) for row in rows])


def run(folder: Path, detector: Detector) -> dict[str, dict[str, FileScore]]:
    """Return the score of each file under each profile: profile → file → score."""
    labels = [folder / "windows.json", folder / "labels" / "combined_windows.json"]
    labelled = json.loads(next(path for path in labels if path.exists()).read_text())
    scores: dict[str, dict[str, FileScore]] = {profile: {} for profile in PROFILES}
    for name in sorted(name for name in labelled if (folder / "data" / name).exists()):
        time, value = read(folder / "data" / name)
        windows = window_rows(time, [(milliseconds(first), milliseconds(last)) for first, last in labelled[name]])
        alarm = judge(detector, value, event_time_ms=time).signal > 0
        for profile, weights in PROFILES.items():
            scores[profile][name] = score_file(alarm, windows, weights)
    return scores


def report(detector: Detector, scores: Mapping[str, Mapping[str, FileScore]], output: str) -> str:
    """Return the scores as text or as one line of JSON."""
    corpus = {profile: total(files.values()).normalised for profile, files in scores.items()}
    if output == "json":
        files = {
            name: {"raw": score.raw, "windows": score.windows, "found": score.found, "false_alarms": score.false_alarms}
            for name, score in scores["standard"].items()
        }
        return json.dumps({"detector": repr(detector), "score": corpus, "files": files})
    lines = [f"{'file':58} {'raw':>6} {'windows':>7} {'found':>5} {'false alarms':>12}"]
    for name, score in scores["standard"].items():
        lines.append(f"{name:58} {score.raw:6.2f} {score.windows:7} {score.found:5} {score.false_alarms:12}")
    lines.append(repr(detector))
    lines.extend(f"{profile:20} {score:6.2f}" for profile, score in corpus.items())
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmark on a folder and print its scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", choices=DETECTORS, default="novelty")
    parser.add_argument("--output", choices=("text", "json"), default="text")
    given = parser.parse_args(arguments)
    detector = DETECTORS[given.detector]()
    sys.stdout.write(report(detector, run(given.folder, detector), given.output) + "\n")


if __name__ == "__main__":
    main()
