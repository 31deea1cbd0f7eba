"""Pictures for tests: made of raw numbers, and read back as such.

Clips are described by functions of a frame's number; so what comes out can
be asserted frame by frame: its number is drawn into it as bars, its corners
have colours of their own, its patches are known.
"""

import pathlib
import re

from conftest import ffmpeg
from verify import run as tool

BITS = 8
RED, GREEN, BLUE = (200, 30, 30), (30, 180, 40), (40, 60, 210)
YELLOW, WHITE, BLACK = (210, 200, 40), (235, 235, 235), (16, 16, 16)
# top left, top right, bottom right, bottom left
CORNERS = (RED, GREEN, BLUE, YELLOW)

LOSSLESS = ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "4",
            "-pix_fmt", "yuv420p"]


def rgb(width, height, colour_at):
    """A picture: colour_at(x, y) -> (r, g, b)."""
    return bytes(v for y in range(height) for x in range(width)
                 for v in colour_at(x, y))


def corners(width, height):
    """Four colours, a quarter each."""
    def at(x, y):
        right, low = 2 * x >= width, 2 * y >= height
        return CORNERS[(2 if right else 3) if low else right]
    return rgb(width, height, at)


def number(n, width=64, height=32):
    """`n` as eight bars of black and white, the lowest bit on the left."""
    row = b"".join(b"\xeb" if n >> (x * BITS // width) & 1 else b"\x10"
                   for x in range(width))
    return row * height


def raw(run, frames, name="raw"):
    path = pathlib.Path(run.path) / name
    path.write_bytes(b"".join(frames))
    return path


def raw_args(path, size, rate=25, fmt="rgb24"):
    """ffmpeg's input options for what raw() wrote."""
    return ["-f", "rawvideo", "-pixel_format", fmt, "-video_size", size,
            "-framerate", str(rate), "-i", path]


def numbered(run, name, count, *args, rate=25, first=0, before=()):
    """A clip of `count` numbered frames (64x32), by default H.264 without
    frames that refer forwards."""
    src = raw(run, [number(first + i) for i in range(count)], name + ".raw")
    path = pathlib.Path(run.path) / name
    ffmpeg(*before, *raw_args(src, "64x32", rate, "gray"),
           *(args or [*LOSSLESS, "-bf", "0"]), path)
    src.unlink()
    return path


def frames(path, fmt="rgb24", vf=None):
    """(width, height, [bytes of each frame]) as a player would show them."""
    size = tool("ffprobe", "-v", "error", "-select_streams", "v:0",
                "-show_entries", "stream=width,height", "-of", "csv=p=0",
                path)
    width, height = (int(x) for x in re.findall(r"\d+", size)[:2])
    chain = [vf] if vf else []
    if fmt == "rgb24":
        chain.append("scale=in_color_matrix=bt709:in_range=tv:flags="
                     "accurate_rnd+full_chroma_int")
    data = tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-vf",
                ",".join([*chain, f"format={fmt}"]), "-fps_mode",
                "passthrough", "-f", "rawvideo", "-", binary=True)
    each = width * height * {"rgb24": 3, "gray": 1, "yuv420p": 1.5}[fmt]
    each = int(each)
    assert len(data) % each == 0 and data
    return width, height, [data[i:i + each]
                           for i in range(0, len(data), each)]


def numbers(path):
    """The numbers that are drawn into the frames, in their order."""
    out = tool("ffmpeg", "-v", "error", "-i", path, "-map", "0:v:0", "-vf",
               "crop=iw:ih/2,scale=64:1:flags=area,format=gray", "-fps_mode",
               "passthrough", "-f", "rawvideo", "-", binary=True)
    found = []
    for i in range(0, len(out), 64):
        line = out[i:i + 64]
        found.append(sum((line[b * 8 + 3] + line[b * 8 + 4] > 240) << b
                         for b in range(BITS)))
    return found


def mean(frame, width, x, y, side=4, channels=3):
    """The average colour around (x, y)."""
    height = len(frame) // (width * channels)
    got = [0] * channels
    n = 0
    for yy in range(max(0, y - side // 2), min(height, y + (side + 1) // 2)):
        for xx in range(max(0, x - side // 2),
                        min(width, x + (side + 1) // 2)):
            n += 1
            for c in range(channels):
                got[c] += frame[(yy * width + xx) * channels + c]
    return tuple(v / n for v in got) if channels > 1 else got[0] / n


def near(got, want, within=8):
    return all(abs(a - b) <= within for a, b in zip(got, want))


def which_colour(pixel):
    """The index of the corner colour that is nearest."""
    return min(range(4), key=lambda i: sum(
        (a - b) ** 2 for a, b in zip(pixel, CORNERS[i])))


def corners_of(path):
    """Which colour is where, from the top left clockwise: (0, 1, 2, 3) is
    upright."""
    w, h, all_ = frames(path)
    dx, dy = max(1, w // 5), max(1, h // 5)
    side = max(2, min(w, h) // 8)
    return tuple(which_colour(mean(all_[0], w, x, y, side)) for x, y in (
        (dx, dy), (w - dx, dy), (w - dx, h - dy), (dx, h - dy)))


def combing(frame, width, height):
    """How much more lines differ from their neighbours than from the lines
    after those, over a grey frame: near 0 of a progressive picture, large of
    two moments woven."""
    near_, far = 0, 0
    for y in range(2, height - 2):
        a, b, c = (frame[k * width:(k + 1) * width] for k in (y - 1, y,
                                                              y + 1))
        near_ += sum(abs(2 * q - p - r) for p, q, r in zip(a, b, c))
        far += sum(abs(p - r) for p, r in zip(a, c))
    return near_ / (far + width * height)
