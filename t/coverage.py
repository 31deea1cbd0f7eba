"""Line coverage by folder, from the counters in a build folder.

    coverage.py build-cov [--floor lib=85]

Prints a table of lib/, ngx_module/ and workerd/ with their sub-folders and
ends with 1 when a floor is not reached.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def measure(build):
    out = subprocess.run(
        ["gcovr", "-r", str(ROOT), "--json", "--gcov-ignore-parse-errors",
         "-f", "lib/", "-f", "ngx_module/", "-f", "workerd/", str(build)],
        cwd=ROOT, capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"gcovr: {out.stderr[-2000:]}")
    lines = collections.defaultdict(lambda: [0, 0])
    for f in json.loads(out.stdout)["files"]:
        hit = {}
        for line in f["lines"]:
            if not line.get("gcovr/noncode"):
                n = line["line_number"]
                hit[n] = hit.get(n, 0) or line["count"]
        folder = str(pathlib.PurePath(f["file"]).parent)
        top = folder.split("/")[0]
        for name in {folder, top, f["file"]}:
            lines[name][0] += sum(1 for c in hit.values() if c)
            lines[name][1] += len(hit)
    return lines


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--floor", action="append", default=[])
    p.add_argument("--files", action="store_true")
    a = p.parse_args()
    lines = measure(pathlib.Path(a.build).resolve())
    percent = {n: 100 * h / t for n, (h, t) in lines.items() if t}
    print(f"{'line coverage of':40} {'hit':>6} {'of':>6} {'%':>6}")
    for name in sorted(percent):
        if name.endswith((".c", ".h")) and not a.files:
            continue
        hit, total = lines[name]
        print(f"{name:40} {hit:6} {total:6} {percent[name]:6.1f}")
    low = []
    for floor in a.floor:
        name, _, least = floor.partition("=")
        if percent.get(name, 0) < float(least):
            low.append(f"{name} is under {least} %")
    for text in low:
        print(text)
    return bool(low)


if __name__ == "__main__":
    sys.exit(main())
