"""workerd against ffmpeg: CPU, memory, bits, time to the first segment

    ./avp bench transcode [--clip FILE] [--long FILE] [--runs N] [--quick]
                          [--peer] [--rows WORDS] [--json FILE] [--keep]

Rows (all but `naive`, when not named by --rows):
  same       all formats, one pass, against the best single ffmpeg command
  early      as shipped (a playable pass first) against that command
  h264       MP4 and HLS alone, against that command without WebM
  copy       streams that fit copied, against the same encoded
  memory     peak memory of the clip and of the long one
  playable   time to the first segment; speed of the playable pass
  naive      against one ffmpeg for each output with ffmpeg's defaults, and
             bits at equal SSIM; `copied`, the same with streams copied;
             long, run once: --peer or --rows naive

bench/README.md says how to read it.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(HERE.parent), str(ROOT / "t")]

import playable  # noqa: E402
import quality  # noqa: E402
import recipe  # noqa: E402
from measure import Failed, machine, median, pin, usage_of  # noqa: E402
from rig.media import media, media_set  # noqa: E402

ROWS = ["same", "early", "h264", "copy", "memory", "playable"]
MB = 1e6


def options():
    a = argparse.ArgumentParser(prog="avp bench transcode",
                                description=__doc__.split("\n")[0])
    a.add_argument("--clip", type=pathlib.Path, help="default: 19 s of 1080p")
    a.add_argument("--long", type=pathlib.Path, help="default: 62 s of 1080p")
    a.add_argument("--runs", type=int, default=3)
    a.add_argument("--quick", action="store_true",
                   help="one run of the first seconds of the clips")
    a.add_argument("--peer", action="store_true", help="the row naive as well")
    a.add_argument("--rows", type=lambda s: s.split(","))
    a.add_argument("--json", type=pathlib.Path, metavar="FILE")
    a.add_argument("--keep", action="store_true", help="keep what was made")
    o = a.parse_args()
    o.rows = o.rows or ROWS + (["naive"] if o.peer else [])
    unknown = set(o.rows) - {*ROWS, "naive"}
    if unknown:
        a.error(f"there is no row {', '.join(sorted(unknown))}")
    if o.quick:
        o.runs = 1
    return o


class Bench:
    def __init__(self, o, folder):
        self.o = o
        self.folder = folder
        self.binary = ROOT / "build/workerd"
        self.record = {"machine": machine(), "clips": media_set(),
                       "runs": o.runs, "quick": o.quick, "rows": {}}
        self.wrong = []
        help_text = subprocess.run([self.binary, "transcode", "--help"],
                                   capture_output=True, text=True,
                                   check=True).stdout
        self.can_copy = "--passthrough" in help_text
        # nothing but the row `copy` is about copied streams
        self.encode = ["--passthrough", "off"] if self.can_copy else []
        self.clip = self.source(o.clip or media("bbb-1080p25-19s.mp4"), 5)

    def source(self, path, quick_seconds):
        path = pathlib.Path(path).resolve()
        if self.o.quick:
            cut = self.folder / f"{quick_seconds}s-{path.stem}.mp4"
            usage_of([*recipe.FFMPEG, "-t", quick_seconds, "-i", path, "-map",
                      "0:v:0", "-map", "0:a:0?", "-c", "copy", cut])
            path = cut
        p = quality.probe(path, count=True)
        num, den = map(int, p["r_frame_rate"].split("/"))
        sound = subprocess.run(
            ["ffprobe", "-v", "error", "-select_streams", "a", "-of",
             "csv=p=0", "-show_entries", "stream=index", str(path)],
            capture_output=True, text=True, check=True).stdout.strip()
        return recipe.Source(path, p["width"], p["height"], num / den,
                             int(p["nb_read_packets"]), float(p["duration"]),
                             bool(sound))

    def looped(self, path, times):
        """The clip and itself so many times again."""
        out = self.folder / f"{times + 1}x-{pathlib.Path(path).name}"
        usage_of([*recipe.FFMPEG, "-stream_loop", times, "-i", path, "-c",
                  "copy", out])
        return out

    # -- runs ---------------------------------------------------------------

    def empty(self, name):
        out = self.folder / name
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        return out

    def ours(self, name, *options, source=None):
        """-> Usage, folder, rungs."""
        source = source or self.clip
        out = self.empty(name)
        plan = []

        def line(_, text):
            if '"t":"plan"' in text:
                plan.append(json.loads(text)["text"])

        # the document goes to stdout, which usage_of throws away: files tell
        u = usage_of(recipe.workerd(self.binary, source.path, out, *options),
                     env=recipe.environment(), on_line=line)
        doc = {"results": []}
        for f in sorted(out.glob("mp4/*.mp4")):
            p = quality.probe(f)
            doc["results"].append({"format": "mp4", "quality": f.stem,
                                   "path": f"mp4/{f.name}",
                                   "width": p["width"],
                                   "height": p["height"]})
        return u, out, recipe.rungs_of(out, doc, plan[0])

    def one(self, name, rungs, webm):
        out = self.empty(name)
        return usage_of(recipe.one(self.clip, out, rungs, webm=webm),
                        env=recipe.environment(), cwd=out)

    def say(self, text):
        print(text, flush=True)

    def keep(self, row, ours, theirs, reach, memory_reach, **more):
        ratio = ours.cpu / theirs.cpu
        memory = ours.rss / theirs.rss
        self.record["rows"][row] = {
            "ours": dataclasses.asdict(ours),
            "theirs": dataclasses.asdict(theirs), "ratio": ratio,
            "memoryRatio": memory, "reach": reach,
            "memoryReach": memory_reach, **more}
        self.say(f"{row:<9} {ours.cpu:8.1f} {theirs.cpu:8.1f} "
                 f"{ratio:6.2f} {reach or '-':>6} | {ours.rss / MB:6.0f} "
                 f"{theirs.rss / MB:6.0f} {memory:6.2f} "
                 f"{memory_reach or '-':>5} | {ours.wall:6.1f} "
                 f"{theirs.wall:6.1f} | {max(ours.foreign, theirs.foreign):.2f}")

    def head(self, theirs):
        self.say(f"\n{'row':<9} {'CPU s':>8} {theirs:>8} {'ratio':>6} "
                 f"{'reach':>6} | {'MB':>6} {theirs:>6} {'ratio':>6} "
                 f"{'reach':>5} | {'wall s':>6} {theirs:>6} | others")

    # -- rows ---------------------------------------------------------------

    def against_one(self):
        """The rows same, early, h264: their runs are interleaved."""
        wanted = [r for r in ("same", "early", "h264") if r in self.o.rows]
        others = sorted({"one-h264" if r == "h264" else "one"
                         for r in wanted})
        runs, rungs = {}, None
        how = {"same": ["--early", "off"], "early": [],
               "h264": ["--early", "off", "--formats", "mp4,hls"]}
        formats = ["mp4", "webm", "hls"]
        for _ in range(self.o.runs):
            for row in wanted:
                u, _, made = self.ours(f"ours-{row}", *self.encode, *how[row])
                runs.setdefault(row, []).append(u)
                rungs = rungs or made
            for other in others:
                runs.setdefault(other, []).append(
                    self.one(other, rungs, other == "one"))
        numbers = {}
        for row in wanted:
            other, webm = (("one-h264", False) if row == "h264"
                           else ("one", True))
            fmts = formats if webm else ["mp4", "hls"]
            for name in (f"ours-{row}", other):
                if name not in numbers:
                    numbers[name] = quality.rows(self.folder / name, self.clip,
                                                 rungs, fmts)
            try:
                bits, db = quality.same(numbers[f"ours-{row}"], numbers[other],
                                        self.folder / f"ours-{row}",
                                        self.folder / other)
            except quality.Different as e:
                self.wrong.append(row)
                self.say(f"{row}: NOT the same work, so no ratio: {e}")
                continue
            self.head("one")
            self.keep(row, median(runs[row]), median(runs[other]),
                      {"same": 1.00, "early": 1.05, "h264": 1.00}[row], 1.1,
                      all={"ours": [dataclasses.asdict(u) for u in runs[row]],
                           "theirs": [dataclasses.asdict(u)
                                      for u in runs[other]]},
                      bitsApart=bits, ssimApart=db)
            self.say(f"          the same work: frames, sizes, x264's settings;"
                     f" bits within {bits:.2%}, SSIM within {db:.3f} dB")
        if numbers:
            self.show_quality("ours", numbers[f"ours-{wanted[0]}"])

    def show_quality(self, whose, rows):
        self.record.setdefault("quality", {})[whose] = {
            " ".join(k): v for k, v in rows.items()}
        self.say(f"\n{whose:<12} {'kbit/s':>8} {'SSIM dB':>8} {'frames':>7}")
        for (fmt, name), r in rows.items():
            if "ssim" in r:
                self.say(f"{fmt + ' ' + name:<12} "
                         f"{quality.bitrate(r) / 1000:8.0f} {r['ssim']:8.2f} "
                         f"{r['frames']:7}")

    def copy(self):
        if not self.can_copy:
            self.say("\ncopy: this workerd copies no streams")
            return
        runs = {"on": [], "off": []}
        for _ in range(self.o.runs):
            for how in runs:
                word = "auto" if how == "on" else "off"
                runs[how].append(self.ours(
                    f"copy-{how}", "--formats", "mp4,hls", "--passthrough",
                    word)[0])
        self.head("encode")
        self.keep("copy", median(runs["on"]), median(runs["off"]), 0.5, None)

    def memory(self):
        long = self.source(self.o.long or media("bbb-1080p25-62s.mp4"), 10)
        short_run, _, _ = self.ours("memory", *self.encode)
        long_run, _, _ = self.ours("memory", *self.encode, source=long)
        self.record["rows"]["memory"] = {
            "short": dataclasses.asdict(short_run),
            "long": dataclasses.asdict(long_run),
            "ratio": long_run.rss / short_run.rss}
        self.say(f"\nmemory    {short_run.rss / MB:.0f} MB for "
                 f"{self.clip.duration:.0f} s, {long_run.rss / MB:.0f} MB for "
                 f"{long.duration:.0f} s: {long_run.rss / short_run.rss:.2f} "
                 "(reach: no more than 1.05; 1000 MB)")

    def playable(self):
        self.say(f"\n{'playable':<24} {'s':>6} {'reach':>6} | "
                 f"{'x real time':>11} {'reach':>5}")
        small = media("bbb-720p25-5s-51.mp4")
        for name, path, reach in (
                ("720p", small, 1.0),
                ("720p, long", self.looped(small, 3), 1.0),
                ("1080p", self.o.clip or media("bbb-1080p25-19s.mp4"), 1.5),
                ("1080p, long", self.o.long or media("bbb-1080p25-62s.mp4"),
                 1.5)):
            if self.o.quick and name.endswith(", long"):
                continue
            s = self.source(path, 5)
            at, times, speed = playable.measure(
                self.binary, s, self.folder / "playable", self.o.runs,
                *self.encode)
            self.record["rows"][f"playable {name}"] = {
                "seconds": at, "all": times, "reach": reach, "speed": speed,
                "clip": s.duration}
            self.say(f"{name + f', {s.duration:.0f} s':<24} {at:6.2f} "
                     f"{reach:6.1f} | {speed:11.1f} {2:5}")

    def naive(self):
        ours, out, rungs = self.ours("ours-naive", *self.encode)
        there = self.empty("naive")
        theirs = None
        for name, argv in recipe.naive(self.clip, there, rungs):
            self.say(f"  {name}")
            u = usage_of(argv, env=recipe.environment(), cwd=there)
            theirs = theirs + u if theirs else u
        a = quality.rows(out, self.clip, rungs, ["mp4", "webm"])
        # each against what its own scaler made of the source
        b = quality.rows(there, self.clip, rungs, ["mp4", "webm"], "scale")
        self.head("naive")
        self.keep("naive", ours, theirs, 0.22, None)
        if self.can_copy:
            copied, _, _ = self.ours("ours-copied", "--passthrough", "auto")
            self.keep("copied", copied, theirs, 0.15, None)
        self.show_quality("ours", a)
        self.show_quality("naive", b)
        self.equal_quality(rungs, b)

    def equal_quality(self, rungs, theirs):
        """The bits that workerd's settings need for the other's SSIM."""
        self.say(f"\n{'bits at equal SSIM':<20} {'other kbit/s':>12} "
                 f"{'SSIM dB':>8} {'ours':>8}  more")
        out = self.empty("curves")
        for codec, fmt, points, reach in (
                ("h264", "mp4", (20, 26), 0.18), ("av1", "webm", (28, 40), 0)):
            for r in rungs:
                curve = []
                for crf in points:
                    name, argv = recipe.curve(self.clip, r, codec, crf)
                    usage_of(argv, env=recipe.environment(), cwd=out)
                    curve.append((quality.ssim(out / name, self.clip, r.width,
                                               r.height),
                                  quality.video_bits(out / name)))
                t = theirs[fmt, r.name]
                need = quality.bits_at(curve, t["ssim"])
                more = need / t["bits"] - 1
                self.record["rows"][f"bits {fmt} {r.name}"] = {
                    "more": more, "reach": reach, "curve": curve,
                    "theirs": t}
                self.say(f"{fmt + ' ' + r.name:<20} "
                         f"{quality.bitrate(t) / 1000:12.0f} {t['ssim']:8.2f} "
                         f"{need / max(t['duration'], 1e-9) / 1000:8.0f}  "
                         f"{more:+.1%} (reach: no more than {reach:+.0%})")

    def run(self):
        c = self.clip
        m = self.record["machine"]
        self.say(f"{m['cpu']}, {m['cores']} cores, load {m['load']:.2f}; "
                 f"clips: {media_set()}; {c.path.name}: {c.width}x{c.height}, "
                 f"{c.duration:.1f} s; {self.o.runs} runs, medians")
        if m["load"] > 0.5:
            self.say("This machine is not idle: CPU seconds are too many by "
                     "up to 15 %, and times to the first segment mean nothing.")
        if {"same", "early", "h264"} & set(self.o.rows):
            self.against_one()
        for row in ("copy", "memory", "playable", "naive"):
            if row in self.o.rows:
                getattr(self, row)()


def main():
    o = options()
    if pin(2) < 2:
        print("avp bench: fewer than the two cores that the reach is for")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="avp-bench-"))
    code = 0
    try:
        b = Bench(o, folder)
        b.run()
        if o.json:
            o.json.write_text(json.dumps(b.record, indent=1) + "\n")
        code = 1 if b.wrong else 0
    except (Failed, AssertionError) as e:
        print(f"avp bench: {e}", file=sys.stderr)
        code = 1
    finally:
        if o.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
