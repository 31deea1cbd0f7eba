"""The commands that are measured: workerd's, and ffmpeg's of two kinds.

`one` is the best single ffmpeg command for the same work: one decode, a
scale for each rung, each rung encoded once by the same encoder with the same
settings, the H.264 packets to MP4 and HLS by the tee muxer, each sound once,
poster and storyboard.  `naive` is what a service does that calls ffmpeg for
each output with ffmpeg's own defaults.
"""

import dataclasses
import os
import pathlib
import re

GOP_H264, GOP_WEBM = 2, 5           # seconds; workerd/media/plan.h
AV1_CRF = 35                        # lib/ladder.c
# as workerd/media/encode.c: AVX2 where there is AVX-512
X264_PARAMS = "scenecut=0:open-gop=0" + (
    ":asm=avx2,bmi2" if "avx512" in pathlib.Path("/proc/cpuinfo").read_text()
    else "")
TILE = "160"                        # pixels of a storyboard tile's short side


@dataclasses.dataclass
class Rung:
    name: str
    width: int
    height: int
    crf: int            # of H.264
    cap: int            # kbit/s
    buffer: int         # kbit, twice the cap but for what rounding leaves
    threads: int
    webm_cap: int       # 0: no WebM


@dataclasses.dataclass
class Source:
    path: pathlib.Path
    width: int
    height: int
    fps: float
    frames: int
    duration: float
    audio: bool


def x264_options(path):
    """The settings that x264 wrote into the stream: {name: value}."""
    data = pathlib.Path(path).read_bytes()
    found = re.search(rb"x264 - core [^\0]*? options: ([^\0]*)\0", data)
    if not found:
        raise AssertionError(f"no settings of x264 in {path}")
    return dict(o.split("=", 1) for o in found.group(1).decode().split())


def rungs_of(folder, doc, plan):
    """What workerd did, from its files and its plan's words."""
    found = []
    for r in doc["results"]:
        if r["format"] != "mp4":
            continue
        o = x264_options(folder / r["path"])
        cap = re.search(rf"\b{r['quality']} av1 \((\d+)k\)", plan)
        found.append(Rung(r["quality"], r["width"], r["height"],
                          float(o["crf"]), int(o["vbv_maxrate"]),
                          int(o["vbv_bufsize"]), int(o["threads"]),
                          int(cap.group(1)) if cap else 0))
    return sorted(found, key=lambda r: r.height)


def workerd(binary, src, out, *options):
    return [binary, "transcode", "--messages", "--json", "--threads", "2",
            *options, src, out]


def environment():
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "SVT_LOG": "1",
            "LC_ALL": "C.UTF-8"}


FFMPEG = ["ffmpeg", "-v", "error", "-nostdin", "-y"]


def h264_settings(i, r, fps):
    return [f"-fps_mode:v:{i}", "passthrough",   # no frames of its own
            f"-c:v:{i}", "libx264", f"-preset:v:{i}", "veryfast",
            f"-profile:v:{i}", "high", f"-crf:v:{i}", f"{r.crf:g}",
            f"-maxrate:v:{i}", f"{r.cap}k", f"-bufsize:v:{i}",
            f"{r.buffer}k", f"-threads:v:{i}", str(r.threads),
            f"-g:v:{i}", str(round(fps * GOP_H264) + 1),
            f"-forced-idr:v:{i}", "1",
            f"-force_key_frames:v:{i}", f"expr:gte(t,n_forced*{GOP_H264})",
            f"-x264-params:v:{i}", X264_PARAMS]


def av1_settings(i, r, fps):
    return [f"-fps_mode:v:{i}", "passthrough",
            f"-c:v:{i}", "libsvtav1", f"-preset:v:{i}", "10",
            f"-crf:v:{i}", str(AV1_CRF), f"-maxrate:v:{i}", f"{r.webm_cap}k",
            f"-bufsize:v:{i}", f"{2 * r.webm_cap}k",
            f"-g:v:{i}", str(round(fps * GOP_WEBM)),
            f"-svtav1-params:v:{i}", "lp=1:lookahead=0"]


def scale(r, src):
    """As workerd does it: not at all for the source's own size."""
    if (r.width, r.height) == (src.width, src.height):
        return ""
    return f"zscale=w={r.width}:h={r.height}:filter=bicubic,"


def one(src, out, rungs, *, webm):
    """The best single command."""
    uses = ["h", "w"] if webm else ["h"]
    # a source whose first picture is late would get it twice otherwise
    graph = [f"[0:v]setpts=PTS-STARTPTS,split={len(rungs) + 1}"
             + "".join(f"[{r.name}]" for r in rungs) + "[s]"]
    for r in rungs:
        graph.append(f"[{r.name}]{scale(r, src)}format=yuv420p"
                     + f",split={len(uses)}"
                     + "".join(f"[{u}{r.name}]" for u in uses))
    across = "-2:160" if src.width > src.height else "160:-2"
    graph.append(f"[s]fps=1,scale={across},tile=10x10[story]")

    def sound(codec, rate):
        return ["-map", "0:a:0", "-c:a", codec, "-b:a", rate, "-ac", "2",
                "-ar", "48000"] if src.audio else []

    both = "select=\\'v:{i},a:0\\'" if src.audio else "select=\\'v:{i}\\'"
    slaves = []
    for i, r in enumerate(rungs):
        slaves.append(f"[{both.format(i=i)}:f=mp4:movflags=+faststart]"
                      f"mp4/{r.name}.mp4")
        slaves.append(hls(f"v:{i}", r.name))
    if src.audio:
        slaves.append(hls("a:0", "audio"))
    args = [*FFMPEG, "-threads", "1", "-i", src.path,
            "-ss", f"{src.duration / 4:.2f}", "-i", src.path,
            "-filter_complex_threads", "1", "-filter_complex",
            ";".join(graph)]
    for i, r in enumerate(rungs):
        args += ["-map", f"[h{r.name}]", *h264_settings(i, r, src.fps)]
    args += [*sound("aac", "128k"), "-flags", "+global_header+cgop",
             "-f", "tee", "|".join(slaves)]
    if webm:
        slaves = [f"[{both.format(i=i)}:f=webm:cues_to_front=1]"
                  f"webm/{r.name}.webm" for i, r in enumerate(rungs)]
        for i, r in enumerate(rungs):
            args += ["-map", f"[w{r.name}]", *av1_settings(i, r, src.fps)]
        args += [*sound("libopus", "96k"), "-flags", "+global_header+cgop",
                 "-f", "tee", "|".join(slaves)]
    args += ["-map", "[story]", "-q:v", "5", "sheet-%04d.jpg",
             "-map", "1:v:0", "-frames:v", "1", "-q:v", "3", "poster.jpg",
             "-map", "1:v:0", "-frames:v", "1", "-c:v", "libwebp",
             "-quality", "80", "poster.webp"]
    for folder in ("mp4", "webm", *(f"hls/{r.name}" for r in rungs),
                   "hls/audio"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    return args


def hls(select, name):
    return (f"[select=\\'{select}\\':f=hls:hls_time=6:hls_segment_type=fmp4:"
            "hls_playlist_type=vod:hls_fmp4_init_filename=init.mp4:"
            f"hls_segment_filename=hls/{name}/s%05d.m4s]hls/{name}/index.m3u8")


def naive(src, out, rungs):
    """One process for each output, ffmpeg's defaults in each."""
    for folder in ("mp4", "webm", *(f"hls/{r.name}" for r in rungs)):
        (out / folder).mkdir(parents=True, exist_ok=True)
    read = [*FFMPEG, "-i", src.path]
    for r in rungs:
        size = ["-vf", f"setpts=PTS-STARTPTS,scale={r.width}:{r.height}"]
        yield f"mp4 {r.name}", [*read, *size, "-c:v", "libx264", "-c:a", "aac",
                                f"mp4/{r.name}.mp4"]
        yield f"hls {r.name}", [*read, *size, "-c:v", "libx264", "-c:a", "aac",
                                "-hls_time", "6", "-hls_playlist_type", "vod",
                                f"hls/{r.name}/index.m3u8"]
        yield f"webm {r.name}", [*read, *size, "-c:v", "libvpx-vp9", "-c:a",
                                 "libopus", f"webm/{r.name}.webm"]
    yield "poster", [*FFMPEG, "-ss", f"{src.duration / 4:.2f}", "-i", src.path,
                     "-frames:v", "1", "poster.jpg"]
    yield "sprite", [*read, "-vf", f"fps=1/2,scale=-2:{TILE},tile=10x10",
                     "-frames:v", "1", "sprite.jpg"]


def curve(src, r, codec, crf):
    """workerd's settings at another CRF and without a cap, to the file
    curve-CODEC-RUNG-CRF.mkv: a point of the curve of bits over quality."""
    r = dataclasses.replace(r, crf=crf)
    settings = (h264_settings if codec == "h264" else av1_settings)(
        0, r, src.fps)
    for word in ("-maxrate:v:0", "-bufsize:v:0"):
        at = settings.index(word)
        del settings[at:at + 2]
    if codec == "av1":
        settings[settings.index("-crf:v:0") + 1] = str(crf)
    name = f"curve-{codec}-{r.name}-{crf:g}.mkv"
    return name, [*FFMPEG, "-threads", "1", "-i", src.path, "-map", "0:v:0",
                  "-vf", f"setpts=PTS-STARTPTS,{scale(r, src)}format=yuv420p",
                  *settings, name]
