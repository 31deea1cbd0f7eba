"""What came out: frames, sizes, bits, likeness to the source; and whether
two sets of files are the same thing, without which no ratio means anything.
"""

import json
import math
import re
import subprocess

from recipe import x264_options

BITS = 0.02             # how far apart two files of one rung may be
SSIM = 0.1              # dB, likewise


class Different(Exception):
    """Two outputs that ought to be of the same work are not."""


def probe(path, count=False):
    args = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-of", "json",
            "-show_entries", "stream=width,height,nb_read_packets,"
            "r_frame_rate,avg_frame_rate:format=duration,size"]
    if count:
        args.append("-count_packets")
    p = subprocess.run([*args, str(path)], capture_output=True, text=True,
                       check=True)
    doc = json.loads(p.stdout)
    return {**doc["streams"][0], **doc["format"]}


def video_bits(path):
    """Of the video stream alone: the sum of its packets."""
    p = subprocess.run(["ffprobe", "-v", "error", "-select_streams", "v:0",
                        "-of", "csv=p=0", "-show_entries", "packet=size",
                        str(path)], capture_output=True, text=True, check=True)
    return 8 * sum(int(x.strip(",")) for x in p.stdout.split())


def ssim(path, src, width, height, scaler="zscale"):
    """SSIM of luma in dB against the source at the file's size."""
    to = ("" if (width, height) == (src.width, src.height)
          else f"zscale=w={width}:h={height}:filter=bicubic,"
          if scaler == "zscale" else f"scale={width}:{height}:flags=bicubic,")
    p = subprocess.run(
        ["ffmpeg", "-nostdin", "-threads", "1", "-i", str(path), "-threads",
         "1", "-i", str(src.path), "-lavfi",
         "[0:v]settb=AVTB,setpts=N[a];"
         f"[1:v]{to}format=yuv420p,settb=AVTB,setpts=N[b];[a][b]ssim",
         "-f", "null", "-"], capture_output=True, text=True)
    found = re.search(r"SSIM Y:([\d.]+)", p.stderr)
    if p.returncode or not found:
        raise AssertionError(f"no SSIM of {path}:\n{p.stderr[-2000:]}")
    return -10 * math.log10(max(1 - float(found.group(1)), 1e-9))


def file_of(folder, fmt, rung):
    """The file, or the playlist."""
    if fmt == "hls":
        return folder / f"hls/{rung.name}/index.m3u8"
    return folder / f"{fmt}/{rung.name}.{fmt}"


def rows(folder, src, rungs, formats, scaler="zscale"):
    """{(format, rung): its numbers}; HLS is measured by its bits alone, as
    its pictures are those of the MP4."""
    out = {}
    for rung in rungs:
        for fmt in formats:
            path = file_of(folder, fmt, rung)
            p = probe(path, count=True)
            row = {"frames": int(p["nb_read_packets"]), "width": p["width"],
                   "height": p["height"], "duration": float(p["duration"]),
                   "bits": video_bits(path)}
            if fmt != "hls":
                row["ssim"] = ssim(path, src, rung.width, rung.height, scaler)
            out[fmt, rung.name] = row
    return out


def bitrate(row):
    return row["bits"] / max(row["duration"], 1e-9)


def same(ours, theirs, ours_dir=None, theirs_dir=None):
    """Raises Different; -> the largest differences, for the table."""
    most_bits = most_ssim = 0.0
    if ours.keys() != theirs.keys():
        raise Different(f"outputs {set(ours) ^ set(theirs)}")
    for key, a in ours.items():
        b = theirs[key]
        what = " ".join(key)
        for k in ("frames", "width", "height"):
            if a[k] != b[k]:
                raise Different(f"{what}: {k} {a[k]} and {b[k]}")
        # sound may end up to a packet later than the picture, and a last
        # picture that comes late (the 19 s clip's, by three frames) is shown
        # where the file ends
        if abs(a["duration"] - b["duration"]) > 0.2:
            raise Different(f"{what}: {a['duration']} s and {b['duration']} s")
        bits = abs(a["bits"] / b["bits"] - 1)
        if bits > BITS:
            raise Different(f"{what}: {a['bits']} and {b['bits']} bits")
        db = abs(a["ssim"] - b["ssim"]) if "ssim" in a else 0
        if db > SSIM:
            raise Different(f"{what}: SSIM {a['ssim']:.2f} and "
                            f"{b['ssim']:.2f} dB")
        if key[0] == "mp4" and ours_dir:
            x, y = (x264_options(d / f"mp4/{key[1]}.mp4")
                    for d in (ours_dir, theirs_dir))
            for name in ("threads", "lookahead_threads"):
                # a pass for one rung gives it more, for the same bits
                x.pop(name, None), y.pop(name, None)
            if x != y:
                raise Different(f"{what}: x264's settings "
                                f"{set(x.items()) ^ set(y.items())}")
        most_bits, most_ssim = max(most_bits, bits), max(most_ssim, db)
    return most_bits, most_ssim


def bits_at(points, db):
    """The bits that a curve of (SSIM, bits) needs for `db`: log of the bits
    is near a line over SSIM.  Two points; a little outside is allowed."""
    (q1, b1), (q2, b2) = sorted(points)
    if q1 == q2:
        raise AssertionError(f"a curve of one point: {points}")
    span = q2 - q1
    if not q1 - span <= db <= q2 + span:
        raise AssertionError(f"{db:.2f} dB is far from {points}")
    return math.exp(math.log(b1) + (db - q1) / span * math.log(b2 / b1))
