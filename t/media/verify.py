"""What must hold of an output folder, whoever made it.

    from verify import Output
    out = Output(folder)              # has hls/ mp4/ webm/ ...
    out.check(frames=482)             # everything below
    out.check_hls(frames=482)         # or one by one
    out.sync("mp4/480p.mp4")          # [(seconds, ms that sound is late), ...]

Needs ffmpeg and ffprobe (of the tests, not of the product).  Every check
raises AssertionError with what was wrong where.
"""

import array
import dataclasses
import gzip
import pathlib
import re
import struct
import subprocess
from xml.etree import ElementTree

FRAME_SLACK = 3                 # frames by which a rendition may differ
AAC_FRAME = 1024 / 44100        # seconds, at the lowest usual rate


def run(*args, binary=False, quiet=True):
    """stdout of a command that must succeed and, if quiet, say nothing."""
    p = subprocess.run([str(a) for a in args], capture_output=True,
                       stdin=subprocess.DEVNULL, timeout=600)
    err = p.stderr.decode(errors="replace")
    # dav1d tells its version whenever it is opened
    noise = "\n".join(x for x in err.splitlines() if "libdav1d" not in x)
    assert p.returncode == 0, f"{args}: exit {p.returncode}\n{err}"
    assert not (quiet and noise.strip()), f"{args}: said\n{noise}"
    return p.stdout if binary else p.stdout.decode()


# --- playlists ---------------------------------------------------------------

def attributes(text):
    """NAME=value,NAME="quoted" of a tag."""
    found = re.findall(r'([A-Z0-9-]+)=("[^"]*"|[^",]*)(?:,|$)', text)
    again = ",".join(f"{k}={v}" for k, v in found)
    assert again == text, f"attribute list: {text}"
    return {k: v.strip('"') for k, v in found}


@dataclasses.dataclass
class Media:
    path: pathlib.Path
    target: int = 0
    kind: str = ""
    version: int = 0
    map: pathlib.Path = None
    ended: bool = False
    start: float = None
    independent: bool = False
    segments: list = dataclasses.field(default_factory=list)  # (s, path)

    @property
    def cuts(self):
        """Start of every segment and the end of the last, in seconds."""
        at, cuts = 0.0, [0.0]
        for seconds, _ in self.segments:
            at += seconds
            cuts.append(round(at, 6))
        return cuts


def lines_of(path):
    data = path.read_bytes()
    assert data.endswith(b"\n"), f"{path}: last line has no end"
    lines = data.decode("utf-8").splitlines()
    assert lines and lines[0] == "#EXTM3U", f"{path}: no #EXTM3U"
    return lines[1:]


def parse_media(path):
    path = pathlib.Path(path)
    m = Media(path)
    seconds = None
    for line in lines_of(path):
        tag, _, value = line.partition(":")
        assert not m.ended, f"{path}: {line!r} after the end"
        if tag == "#EXT-X-VERSION":
            m.version = int(value)
        elif tag == "#EXT-X-TARGETDURATION":
            m.target = int(value)
        elif tag == "#EXT-X-PLAYLIST-TYPE":
            m.kind = value
        elif tag == "#EXT-X-START":
            m.start = float(attributes(value)["TIME-OFFSET"])
        elif tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            m.independent = True
        elif tag == "#EXT-X-MEDIA-SEQUENCE":
            assert value == "0", f"{path}: {line}"
        elif tag == "#EXT-X-MAP":
            m.map = path.parent / attributes(value)["URI"]
        elif tag == "#EXTINF":
            assert re.fullmatch(r"\d+\.\d+,", value), f"{path}: {line}"
            seconds = float(value[:-1])
        elif tag == "#EXT-X-ENDLIST":
            m.ended = True
        elif line.startswith("#"):
            raise AssertionError(f"{path}: unknown tag {line}")
        else:
            assert seconds is not None, f"{path}: {line!r} without EXTINF"
            m.segments.append((seconds, path.parent / line))
            seconds = None
    assert seconds is None, f"{path}: EXTINF without a segment"
    return m


@dataclasses.dataclass
class Master:
    path: pathlib.Path
    version: int = 0
    independent: bool = False
    audio: list = dataclasses.field(default_factory=list)     # attributes
    texts: list = dataclasses.field(default_factory=list)     # attributes
    iframes: list = dataclasses.field(default_factory=list)   # attributes
    variants: list = dataclasses.field(default_factory=list)  # attributes


def parse_master(path):
    path = pathlib.Path(path)
    m = Master(path)
    inf = None
    for line in lines_of(path):
        tag, _, value = line.partition(":")
        if tag == "#EXT-X-VERSION":
            m.version = int(value)
        elif tag == "#EXT-X-INDEPENDENT-SEGMENTS":
            m.independent = True
        elif tag == "#EXT-X-MEDIA":
            found = attributes(value)
            {"AUDIO": m.audio, "SUBTITLES": m.texts}[found["TYPE"]].append(
                found)
        elif tag == "#EXT-X-I-FRAME-STREAM-INF":
            m.iframes.append(attributes(value))
        elif tag == "#EXT-X-STREAM-INF":
            inf = attributes(value)
        elif line.startswith("#"):
            raise AssertionError(f"{path}: unknown tag {line}")
        else:
            assert inf is not None, f"{path}: {line!r} without STREAM-INF"
            m.variants.append({**inf, "URI": line})
            inf = None
    assert inf is None and m.variants, f"{path}: no variants"
    return m


def measured(media):
    """(peak, average) bit/s of the segments of a playlist (RFC 8216bis)."""
    sizes = [p.stat().st_size * 8 for _, p in media.segments]
    times = [s for s, _ in media.segments]
    total = sum(times)
    average = sum(sizes) / total
    peak = 0
    for i in range(len(sizes)):
        for k in range(i + 1, len(sizes) + 1):
            t = sum(times[i:k])
            if 0.5 * media.target <= t <= 1.5 * media.target:
                peak = max(peak, sum(sizes[i:k]) / t)
    return peak or average, average


# --- boxes -------------------------------------------------------------------

def boxes(data, at=0, end=None):
    """(type, start of body, end) of each box."""
    end = len(data) if end is None else end
    while at < end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        assert head <= size <= end - at, f"box {kind} of {size} at {at}"
        yield kind.decode("latin-1"), at + head, at + size
        at += size


def find_box(data, *path):
    at, end = 0, len(data)
    for want in path:
        for kind, a, e in boxes(data, at, end):
            if kind == want:
                at, end = a, e
                break
        else:
            return None
    return data[at:end]


@dataclasses.dataclass
class Fragment:
    tfdt: int
    durations: list
    offsets: list       # composition
    sync: list
    first: bytes        # first sample


def parse_fragments(data):
    """Of a segment: styp, then moof and mdat in turns, one track."""
    found = []
    kinds = [k for k, _, _ in boxes(data)]
    assert kinds[0] == "styp", kinds
    assert kinds[1:] == ["moof", "mdat"] * (len(kinds) // 2), kinds
    for kind, a, e in boxes(data):
        if kind == "moof":
            found.append(_moof(data, a, e))
    return found


def _moof(data, a, e):
    trafs = [(x, y) for k, x, y in boxes(data, a, e) if k == "traf"]
    assert len(trafs) == 1
    children = list(boxes(data, *trafs[0]))
    assert [k for k, _, _ in children] == ["tfhd", "tfdt", "trun"], children
    tfhd, tfdt, trun = (data[x:y] for _, x, y in children)

    flags = struct.unpack_from(">I", tfhd)[0] & 0xFFFFFF
    assert flags & 0x020000, "no default-base-is-moof"
    assert not flags & 0x01, "base-data-offset"
    at = 8 + (4 if flags & 2 else 0)
    default = {}
    for bit, name in ((8, "d"), (16, "s"), (32, "f")):
        if flags & bit:
            default[name] = struct.unpack_from(">I", tfhd, at)[0]
            at += 4

    base = struct.unpack_from(">Q" if tfdt[0] else ">I", tfdt, 4)[0]
    head, count = struct.unpack_from(">II", trun)
    version, flags = head >> 24, head & 0xFFFFFF
    at = 8
    assert flags & 1, "trun without data offset"
    offset = struct.unpack_from(">i", trun, at)[0]
    at += 4
    first = None
    if flags & 4:
        first = struct.unpack_from(">I", trun, at)[0]
        at += 4
    d, s, f, c = [], [], [], []
    for i in range(count):
        row = dict(default, c=0)
        for bit, name in ((0x100, "d"), (0x200, "s"), (0x400, "f"),
                          (0x800, "c")):
            if flags & bit:
                fmt = ">i" if name == "c" and version else ">I"
                row[name] = struct.unpack_from(fmt, trun, at)[0]
                at += 4
        if i == 0 and first is not None:
            row["f"] = first
        d.append(row["d"])
        s.append(row["s"])
        f.append(row["f"])
        c.append(row["c"])
    begin = a - 8 + offset
    assert begin == e + 8, "samples do not begin with mdat"
    return Fragment(base, d, c, [not x & 0x10000 for x in f],
                    data[begin:begin + s[0]])


def has_idr(sample):
    at = 0
    while at + 4 < len(sample):
        size = struct.unpack_from(">I", sample, at)[0]
        if sample[at + 4] & 31 == 5:
            return True
        at += 4 + size
    return False


def has_irap(sample):
    """HEVC: an IDR, by its NAL unit type."""
    at = 0
    while at + 4 < len(sample):
        if sample[at + 4] >> 1 & 63 in (19, 20):
            return True
        at += 4 + struct.unpack_from(">I", sample, at)[0]
    return False


# --- decoding ----------------------------------------------------------------

def source(path):
    """-i and what goes before it: ffmpeg's DASH demuxer takes the names of
    subtitles for none of its business."""
    any_name = (["-allowed_extensions", "ALL"]
                if str(path).endswith(".mpd") else [])
    return [*any_name, "-i", str(path)]


def decode(path):
    """Decodes all: {"v": [pts in s, ...], "a": [(pts, samples), ...]}."""
    out = run("ffmpeg", "-v", "error", "-xerror", "-copyts", *source(path),
              "-map", "0:v:0?", "-map", "0:a:0?", "-fps_mode", "passthrough",
              "-enc_time_base:v", "1/90000", "-f", "framecrc", "-")
    found = {"v": [], "a": []}
    kind, base = {}, {}
    for line in out.splitlines():
        if line.startswith("#tb"):
            i, tb = re.match(r"#tb (\d+): (\S+)", line).groups()
            num, den = map(int, tb.split("/"))
            base[i] = num / den
        elif line.startswith("#media_type"):
            i, what = re.match(r"#media_type (\d+): (\w+)", line).groups()
            kind[i] = what[0]
        elif not line.startswith("#"):
            i, _, pts, duration, *_ = (x.strip() for x in line.split(","))
            at = int(pts) * base[i]
            if kind[i] == "v":
                found["v"].append(at)
            else:
                found["a"].append((at, int(duration) * base[i]))
    return found


def packet_hashes(path, kind="v"):
    """(size, hash) of the packets of the first stream of a kind."""
    out = run("ffmpeg", "-v", "error", "-i", path, "-map", f"0:{kind}:0",
              "-c", "copy", "-f", "framehash", "-hash", "md5", "-")
    rows = [line.split(",") for line in out.splitlines()
            if line and not line.startswith("#")]
    return [(int(r[4]), r[5].strip()) for r in rows]


def key_times(path):
    """Of the video's key frames, in seconds, ascending."""
    out = run("ffprobe", "-v", "error", "-select_streams", "v:0",
              "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", path)
    rows = (x.rstrip(",").split(",")[:2] for x in out.splitlines())
    return sorted(round(float(t), 3) for t, flags in rows if "K" in flags)


def start_times(path):
    """{"video": s, "audio": s} as ffprobe says."""
    out = run("ffprobe", "-v", "error", "-show_entries",
              "stream=codec_type,start_time", "-of", "csv=p=0", path)
    return {k: float(t) for k, t in
            (line.rstrip(",").split(",")[:2] for line in out.splitlines()
             if "," in line)}


def flashes(path):
    """Times of the white frames, one per flash, and how many each has."""
    out = run("ffmpeg", "-v", "error", "-copyts", *source(path), "-map", "0:v:0",
              "-vf", "scale=32:32:flags=area,format=gray,signalstats,"
              "metadata=print:key=lavfi.signalstats.YAVG:file=-",
              "-fps_mode", "passthrough", "-f", "null", "-")
    frames = [(float(t), float(y)) for t, y in re.findall(
        r"pts_time:(\S+)\n[^\n]*YAVG=(\S+)", out)]
    assert frames, f"{path}: no frames"
    levels = sorted(y for _, y in frames)
    dark, bright = levels[len(levels) // 2], levels[-1]
    assert bright - dark > 40, f"{path}: no flash (luma {dark}..{bright})"
    found = []
    before = False
    for t, y in frames:
        white = y > (dark + bright) / 2
        if white and before:
            found[-1][1] += 1
        elif white:
            found.append([t, 1])
        before = white
    return found


def beeps(path):
    """Times at which a sound begins after silence."""
    p = subprocess.run(
        ["ffmpeg", "-nostdin", "-copyts", *source(path), "-map", "0:a:0",
         "-af", "aresample=48000,aformat=sample_fmts=s16:channel_layouts=mono,"
         "ashowinfo", "-f", "s16le", "-"], capture_output=True, timeout=600)
    assert p.returncode == 0, p.stderr.decode(errors="replace")
    start = float(re.search(rb"pts_time:(\S+)", p.stderr).group(1))
    pcm = array.array("h", p.stdout[:len(p.stdout) // 2 * 2])
    window = 48                                             # 1 ms
    levels = [sum(map(abs, pcm[i:i + window]))
              for i in range(0, len(pcm) - window, window)]
    loud = max(levels, default=0) * 0.3
    assert loud > 0, f"{path}: silence"
    found = []
    quiet = 200
    for i, level in enumerate(levels):
        if level > loud:
            if quiet >= 200:
                found.append(start + i / 1000)
            quiet = 0
        else:
            quiet += 1
    return found


def sync(path):
    """[(time of a flash, ms by which its beep is late)] of a clip made by
    `workerd clip`."""
    white, heard = flashes(path), beeps(path)
    pairs = []
    for t, n in white:
        assert n == 1, f"{path}: {n} white frames at {t}"
        near = min(heard, key=lambda b: abs(b - t))
        if abs(near - t) < 0.4:
            pairs.append((t, (near - t) * 1000))
    assert len(pairs) >= len(white) - 1 and pairs, (
        f"{path}: {len(white)} flashes, {len(heard)} beeps")
    return pairs


# --- an output folder --------------------------------------------------------

class Output:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.hls = self.folder / "hls"
        self.keys = None        # of a copied rung: times of its key frames
        self.apart = set()      # rungs whose MP4 is copied and HLS is not

    def files(self, pattern):
        return sorted(self.folder.glob(pattern))

    def rungs(self):
        """Folders of video tracks below hls/."""
        return sorted(p.name for p in self.hls.iterdir() if p.is_dir()
                      and not re.match("audio|surround|text-|captions", p.name))

    def sounds(self):
        """Folders of sounds, the default one first."""
        return sorted(p.name for p in self.hls.iterdir() if p.is_dir()
                      and re.match("audio|surround", p.name))

    def copied_from(self, src):
        """HLS has a rung that is the source's own: cut as that is."""
        at = key_times(src)
        self.keys = [t - at[0] for t in at]
        return self

    def check(self, frames=None, fps=None):
        """All of it; the names of the renditions that were there."""
        self.check_tidy()
        seen = []
        for path in self.files("mp4/*.mp4") + self.files("webm/*.webm"):
            self.check_file(path, frames)
            seen.append(str(path.relative_to(self.folder)))
        if self.hls.is_dir():
            self.check_hls(frames, fps)
            seen += [f"hls/{r}" for r in self.rungs()]
        if (self.folder / "storyboard.vtt").exists():
            self.check_storyboard()
        assert seen, f"{self.folder}: nothing"
        return seen

    def check_tidy(self):
        for p in self.folder.rglob("*"):
            assert p.suffix != ".tmp", f"left over: {p}"
            mode = p.stat().st_mode & 0o7777
            assert mode & 0o007 == 0, f"{p}: mode {mode:o}"
        for p in self.folder.rglob("*.gz"):
            assert gzip.decompress(p.read_bytes()) == p.with_suffix(
                "").read_bytes(), f"{p} is not its plain file"

    def check_file(self, path, frames=None):
        """One MP4 or WebM: index in front, decodes whole, begins at 0."""
        path = self.folder / path
        data = path.read_bytes()
        if path.suffix == ".mp4":
            order = [k for k, _, _ in boxes(data)]
            assert order.index("moov") < order.index("mdat"), order
        else:
            cues, cluster = (data.find(bytes.fromhex(x))
                             for x in ("1c53bb6b", "1f43b675"))
            assert 0 < cues < cluster, f"{path}: Cues behind the clusters"
        self._check_decoded(path, decode(path), frames)
        begin = start_times(path)
        assert abs(begin["video"]) < 0.0015, f"{path}: {begin}"
        assert abs(begin.get("audio", 0)) < 0.03, f"{path}: {begin}"

    def _check_decoded(self, path, got, frames):
        times = got["v"]
        assert times, f"{path}: no frames"
        if frames is not None:
            assert abs(len(times) - frames) <= FRAME_SLACK, (
                f"{path}: {len(times)} frames, not {frames}")
        assert times == sorted(set(times)), f"{path}: times go back"
        assert abs(times[0]) < 0.002, f"{path}: first frame at {times[0]}"
        steps = [b - a for a, b in zip(times, times[1:])]
        if steps:
            usual = sorted(steps)[len(steps) // 2]
            # WebM's times are whole milliseconds
            worst = max(steps, key=lambda s: abs(s - usual))
            assert abs(worst - usual) < 0.0025, (
                f"{path}: a step of {worst} s among steps of {usual} s")
        at = None
        for t, duration in got["a"]:
            assert at is None or abs(t - at) < 0.002, (
                f"{path}: sound jumps from {at} to {t}")
            at = t + duration

    def check_media(self, path, vod=True):
        m = parse_media(path)
        assert m.version == 7 and m.independent and m.ended, path
        assert m.kind == ("VOD" if vod else "EVENT"), path
        assert (m.start is None) if vod else (m.start == 0), path
        assert m.map.is_file() and m.segments, path
        for i, (seconds, segment) in enumerate(m.segments):
            assert segment.is_file() and segment.stat().st_size, segment
            assert segment.name == f"s{i:05d}.m4s", segment
            assert seconds > 0, segment
            assert int(seconds + 0.5) <= m.target, (
                f"{segment}: {seconds} s, target {m.target}")
        names = {p for _, p in m.segments}
        stray = set(path.parent.glob("*.m4s")) - names
        assert not stray, f"not in {path}: {stray}"
        return m

    def check_track(self, name):
        """Both playlists of a track, and tfdt through all segments."""
        vod = self.check_media(self.hls / name / "index.m3u8")
        live = self.check_media(self.hls / name / "live.m3u8", vod=False)
        assert vod.segments == live.segments and vod.target == live.target
        init = vod.map.read_bytes()
        assert [k for k, _, _ in boxes(init)] == ["ftyp", "moov"]
        mdhd = find_box(init, "moov", "trak", "mdia", "mdhd")
        scale = struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0]
        elst = find_box(init, "moov", "trak", "edts", "elst")
        skip = 0
        if elst is not None:
            assert struct.unpack_from(">I", elst, 4)[0] == 1, "one edit"
            skip = struct.unpack_from(">q" if elst[0] else ">i", elst,
                                      16 if elst[0] else 12)[0]
        at = 0
        for cut, (_, path) in zip(vod.cuts, vod.segments):
            fragments = parse_fragments(path.read_bytes())
            sound = re.match("audio|surround", name)
            for i, f in enumerate(fragments):
                assert f.tfdt == at, f"{path}: tfdt {f.tfdt}, not {at}"
                at += sum(f.durations)
                assert f.sync[0], f"{path}: begins without sync sample"
                if sound:
                    continue
                assert (has_irap if name.endswith("-hevc") else has_idr)(
                    f.first), f"{path}: no IDR first"
                assert not any(f.sync[1:]), f"{path}: a moof has many keys"
                shown = [t + c for t, c in zip(_starts(f), f.offsets)]
                assert min(shown) == shown[0], f"{path}: leading frames"
                if i == 0:
                    begin = (shown[0] - skip) / scale
                    assert abs(begin - cut) < 0.0001, (
                        f"{path}: begins at {begin}, playlist says {cut}")
            if sound and path.name != "s00000.m4s":
                begin = (fragments[0].tfdt - skip) / scale
                assert abs(begin - cut) < 0.0001, (
                    f"{path}: begins at {begin}, playlist says {cut}")
        return vod

    def check_hls(self, frames=None, fps=None):
        """Tracks, masters, that all rungs are cut alike, and decoding."""
        tracks = {r: self.check_track(r) for r in self.rungs()}
        assert tracks, "no video tracks"
        first = next(iter(tracks.values()))
        for name, t in tracks.items():
            assert t.cuts == first.cuts, f"{name} is cut differently"
            assert t.target == first.target
        audio = None
        self.heard = {}             # sound's folder: (peak, average)
        for sound in self.sounds():
            track = self.check_track(sound)
            self.heard[sound] = measured(track)
            audio = audio or track
            assert track.target == first.target
            for v, a in zip(first.cuts[1:-1], track.cuts[1:-1]):
                assert -0.0001 < a - v <= AAC_FRAME, (
                    f"{sound} is cut at {a}, video at {v}")
        self._check_grid(first, fps)
        master = parse_master(self.hls / "master.m3u8")
        assert {v["URI"] for v in master.variants} == {
            f"{r}/index.m3u8" for r in tracks}
        self._check_master(master, tracks, audio)
        assert not master.variants[0]["URI"].split("/")[0].endswith("-hevc")
        for name in tracks:
            if name.endswith("-hevc"):      # in the master of its rung
                self._check_decoded(self.hls / name, decode(
                    self.hls / name / "index.m3u8"), frames)
                continue
            one = parse_master(self.hls / f"{name}.m3u8")
            assert {v["URI"] for v in one.variants} == {
                f"{t}/index.m3u8" for t in tracks
                if t.removesuffix("-hevc") == name}
            self._check_master(one, tracks, audio)
            self._check_decoded(self.hls / f"{name}.m3u8", decode(
                self.hls / f"{name}.m3u8"), frames)
            self._check_same_packets(name)
        self.check_dash(tracks)
        live = parse_master(self.hls / "live-master.m3u8")
        assert len(live.variants) == 1
        self._check_live_master(live, tracks, audio)

    def dash(self):
        """{representation: (attributes of its set and itself, cuts, files)}
        of the manifest."""
        at = self.folder / "dash/manifest.mpd"
        ns = "{urn:mpeg:dash:schema:mpd:2011}"
        mpd = ElementTree.parse(at).getroot()
        assert mpd.tag == ns + "MPD" and mpd.get("type") == "static"
        assert mpd.get("profiles") == "urn:mpeg:dash:profile:isoff-live:2011"
        found = {}
        for group in mpd.iterfind(f"{ns}Period/{ns}AdaptationSet"):
            for one in group.iterfind(f"{ns}Representation"):
                about = {**group.attrib, **one.attrib, "roles": [
                    r.get("value") for r in group.iterfind(f"{ns}Role")]}
                template = one.find(f"{ns}SegmentTemplate")
                if template is None:
                    files = [one.find(f"{ns}BaseURL").text]
                    cuts = None
                else:
                    scale = int(template.get("timescale"))
                    cuts = []
                    for s in template.find(f"{ns}SegmentTimeline"):
                        if not cuts:
                            cuts = [int(s.get("t"))]
                        for _ in range(1 + int(s.get("r", 0))):
                            cuts.append(cuts[-1] + int(s.get("d")))
                    name = template.get("media").replace(
                        "$RepresentationID$", one.get("id"))
                    files = [template.get("initialization").replace(
                        "$RepresentationID$", one.get("id"))]
                    first = int(template.get("startNumber"))
                    files += [name.replace("$Number%05d$", f"{first + i:05d}")
                              for i in range(len(cuts) - 1)]
                    cuts = [c / scale for c in cuts]
                assert one.get("id") not in found
                found[one.get("id")] = (about, cuts, [
                    (at.parent / f).resolve() for f in files])
        return found, float(mpd.get("mediaPresentationDuration")[2:-1])

    def check_dash(self, tracks):
        """The manifest names every track, and what the playlists have."""
        found, seconds = self.dash()
        texts = {p.name for p in self.hls.iterdir()
                 if re.match("text-|captions", p.name)}
        assert set(found) == {*tracks, *self.sounds(), *texts}
        assert abs(seconds - max(t.cuts[-1] for t in tracks.values())) < 1e-4
        for name, (about, cuts, files) in found.items():
            assert all(f.is_file() for f in files), name
            if name in texts:
                continue
            media = parse_media(self.hls / name / "index.m3u8")
            assert files == [p.resolve() for p in (
                media.map, *(s for _, s in media.segments))], name
            assert len(cuts) == len(media.cuts)
            assert all(abs(a - b) < 1e-4 for a, b in zip(cuts, media.cuts)), (
                f"{name}: {cuts}, not {media.cuts}")
            assert about["segmentAlignment"] == "true", name
            assert about["startWithSAP"] == "1", name
            peak = measured(media)[0]
            assert abs(int(about["bandwidth"]) / peak - 1) < 0.1, name

    def _check_grid(self, media, fps):
        """Cuts on the first frame at or after 2, 4, 6, 12, 18 ..., or with a
        copied rung on its key frames."""
        frame = 1 / fps if fps else 0.126
        inner = media.cuts[1:-1]
        if self.keys:
            for cut in inner:
                near = min(self.keys, key=lambda t: abs(t - cut))
                assert abs(near - cut) < 0.002, (
                    f"{media.path}: cut at {cut}, no key frame there")
            return
        grid = [2, 4, 6] + [6 * i for i in range(2, len(inner) + 2)]
        for cut, second in zip(inner, grid):
            assert -0.0001 < cut - second < frame, (
                f"{media.path}: cut at {cut}, grid says {second}")

    def _check_master(self, master, tracks, audio):
        assert master.version == 7 and master.independent, master.path
        sounds = {None: (0, 0)}     # group: the most that one of it takes
        if audio is not None:
            assert {a["URI"] for a in master.audio} == {
                f"{s}/index.m3u8" for s in self.sounds()}, master.path
            assert master.audio[0]["URI"] == "audio/index.m3u8"
            defaults = [a for a in master.audio if a["DEFAULT"] == "YES"]
            assert len(defaults) == len({
                a["GROUP-ID"] for a in master.audio}), master.path
            for a in master.audio:
                assert a["LANGUAGE"] and int(a["CHANNELS"]) >= 1
                most = sounds.get(a["GROUP-ID"], (0, 0))
                sounds[a["GROUP-ID"]] = tuple(
                    map(max, most, self.heard[a["URI"].split("/")[0]]))
        else:
            assert not master.audio, master.path
        for v in master.variants:
            t = tracks[v["URI"].split("/")[0]]
            peak, average = (x + y for x, y in zip(
                measured(t), sounds[v.get("AUDIO")]))
            assert abs(int(v["BANDWIDTH"]) / peak - 1) < 0.1, (v, peak)
            assert abs(int(v["AVERAGE-BANDWIDTH"]) / average - 1) < 0.1, v
            self._check_variant(v, t, audio)

    def _check_live_master(self, live, tracks, audio):
        v = live.variants[0]
        name, list_name = v["URI"].split("/")
        assert list_name == "live.m3u8" and name in tracks
        assert "AVERAGE-BANDWIDTH" not in v
        peak = measured(tracks[name])[0]
        if audio is not None:
            assert live.audio[0]["URI"] == "audio/live.m3u8"
            peak += measured(audio)[0]
        assert int(v["BANDWIDTH"]) >= peak, f"{v}: measured {peak}"
        self._check_variant(v, tracks[name], audio)

    def _check_variant(self, v, track, audio):
        codecs = v["CODECS"].split(",")
        assert len(codecs) == (2 if audio is not None else 1), v
        init = track.map.read_bytes()
        if track.path.parent.name.endswith("-hevc"):
            hvcc = init[init.index(b"hvcC") + 4:]
            assert re.fullmatch(r"hvc1\.1\.6\.[LH]\d+(\.[0-9A-F]+)*",
                                codecs[0]), v
            assert codecs[0].split(".")[3][1:] == str(hvcc[12]), v
        else:
            avcc = re.search(rb"avcC\x01(...)", init, re.S)
            assert codecs[0] == "avc1." + avcc.group(1).hex(), v
        if audio is not None:
            assert codecs[1] == "mp4a.40.2", v
            assert v["AUDIO"] in ("audio", "surround"), v
        else:
            assert "AUDIO" not in v
        assert v["CLOSED-CAPTIONS"] == "NONE", v
        assert re.fullmatch(r"\d+\.\d{3}", v["FRAME-RATE"]), v
        size = run("ffprobe", "-v", "error", "-select_streams", "v",
                   "-show_entries", "stream=width,height", "-of", "csv=p=0",
                   track.map).strip().rstrip(",").replace(",", "x")
        assert v["RESOLUTION"] == size, (v, size)

    def _check_same_packets(self, name):
        """One encode feeds MP4 and HLS."""
        mp4 = self.folder / "mp4" / f"{name}.mp4"
        if mp4.exists() and name not in self.apart:
            a = packet_hashes(mp4)
            b = packet_hashes(self.hls / name / "index.m3u8")
            assert a and a == b, f"{name}: MP4 and HLS are not the same bits"

    def check_storyboard(self):
        """Both lists; the end of the last cue."""
        at = self._check_storyboard("storyboard.vtt", "jpg")
        assert at == self._check_storyboard("storyboard-webp.vtt", "webp")
        return at

    def _check_storyboard(self, name, ending):
        text = (self.folder / name).read_text()
        head, *cues = text.strip().split("\n\n")
        assert head == "WEBVTT" and cues
        clock = r"(\d\d):(\d\d):(\d\d\.\d{3})"
        at, sheets = 0.0, {}
        for cue in cues:
            m = re.fullmatch(rf"{clock} --> {clock}\n(storyboard/sheet-\d{{4}}"
                             rf"\.{ending})#xywh=(\d+),(\d+),(\d+),(\d+)", cue)
            assert m, f"cue {cue!r}"
            g = m.groups()
            begin, end = (int(a) * 3600 + int(b) * 60 + float(c)
                          for a, b, c in (g[:3], g[3:6]))
            assert abs(begin - at) < 0.0015 and end > begin, cue
            at = end
            sheets.setdefault(g[6], []).append(tuple(map(int, g[7:])))
        for sheet, tiles in sheets.items():
            w, h = (int(x) for x in run(
                "ffprobe", "-v", "error", "-show_entries",
                "stream=width,height", "-of", "csv=p=0",
                self.folder / sheet).strip().rstrip(",").split(","))
            assert max(w, h) <= 4096
            for x, y, tw, th in tiles:
                assert x + tw <= w and y + th <= h, (sheet, (x, y, tw, th))
                assert x % tw == 0 and y % th == 0
            assert len(tiles) <= 100
            assert h == -(-len(tiles) // 10) * tiles[0][3], sheet
        return at

    def sync(self, path):
        return sync(self.folder / path)

    def check_sync(self, limit_ms=45):
        """Flash and beep, at start and end of every rendition; the offsets."""
        found = {}
        paths = self.files("mp4/*.mp4") + self.files("webm/*.webm")
        if self.hls.is_dir():
            paths += [self.hls / f"{r}.m3u8" for r in self.rungs()]
        for path in paths:
            pairs = sync(path)
            for at, late in (pairs[0], pairs[-1]):
                assert abs(late) <= limit_ms, (
                    f"{path}: sound {late:.0f} ms late at {at:.2f} s")
            found[str(path.relative_to(self.folder))] = (pairs[0][1],
                                                         pairs[-1][1])
        return found


def _starts(fragment):
    at, found = fragment.tfdt, []
    for d in fragment.durations:
        found.append(at)
        at += d
    return found
