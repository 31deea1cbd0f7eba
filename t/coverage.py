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
FOLDERS = ("lib", "ngx_module", "workerd")


def counts(build):
    """file -> line -> times, summed over all objects that have the file (lib/
    is compiled for workerd and again for NGINX)."""
    files = collections.defaultdict(collections.Counter)
    for data in sorted(build.rglob("*.gcda")):
        out = subprocess.run(["gcov", "--json-format", "--stdout", str(data)],
                             cwd="/", capture_output=True, text=True)
        for text in filter(None, out.stdout.splitlines()):
            report = json.loads(text)
            for f in report["files"]:
                path = pathlib.Path(report["current_working_directory"],
                                    f["file"]).resolve()
                if not path.is_relative_to(ROOT):
                    continue
                name = str(path.relative_to(ROOT))
                if name.split("/")[0] in FOLDERS:
                    for line in f["lines"]:
                        files[name][line["line_number"]] += line["count"]
    return files


def measure(build):
    lines = collections.defaultdict(lambda: [0, 0])
    for name, hit in counts(build).items():
        folder = str(pathlib.PurePath(name).parent)
        for n in {folder, folder.split("/")[0], name}:
            lines[n][0] += sum(1 for c in hit.values() if c > 0)
            lines[n][1] += len(hit)
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
