"""Apple's HLS authoring rules, one check for each number, on an output folder.

    from hls_lint import lint, advice
    assert not lint(folder)       # what MUST be: "9.1 720p: no CODECS"
    advice(folder)                # what SHOULD be

RULES says for each number what it asks and who looks after it: a check here,
or why there is none.  Nothing is decoded; segments are parsed.
"""

import dataclasses
import functools
import gzip
import pathlib
import re
import struct

from verify import (boxes, find_box, has_idr, has_irap, lines_of, measured,
                    parse_fragments, parse_master, parse_media)

AAC_FRAME = 1024 / 44100


@dataclasses.dataclass
class Track:
    """A media playlist with its segments, parsed."""
    name: str
    media: object
    video: bool
    scale: int
    init: bytes
    segments: list              # of lists of fragments

    @functools.cached_property
    def fragments(self):
        return [f for s in self.segments for f in s]

    @property
    def frame(self):
        return max(d for f in self.fragments for d in f.durations) / self.scale

    @property
    def seconds(self):
        return sum(d for f in self.fragments
                   for d in f.durations) / self.scale

    @functools.cached_property
    def codec(self):
        """RFC 6381, of the configuration record in the init segment."""
        if not self.video:
            config = re.search(rb"esds.*?\x05\x80\x80\x80.(.)", self.init,
                               re.S)
            return f"mp4a.40.{config.group(1)[0] >> 3}" if config else ""
        avcc = re.search(rb"avcC\x01(...)", self.init, re.S)
        if avcc:
            return "avc1." + avcc.group(1).hex()
        hvcc = re.search(rb"hvcC\x01(.)", self.init, re.S)
        return f"hvc1.{hvcc.group(1)[0] & 31}" if hvcc else ""

    @property
    def size(self):
        tkhd = find_box(self.init, "moov", "trak", "tkhd") or bytes(8)
        w, h = struct.unpack(">II", tkhd[-8:])
        return w >> 16, h >> 16


class Folder:
    """All of a presentation; what cannot be parsed raises."""

    def __init__(self, folder, master="master.m3u8"):
        self.hls = pathlib.Path(folder) / "hls"
        self.master = parse_master(self.hls / master)
        self.tracks = {}
        for v in self.master.variants:
            self.track(v["URI"])
        for a in self.master.audio:
            self.track(a["URI"])

    def track(self, uri):
        if uri not in self.tracks:
            media = parse_media(self.hls / uri)
            init = media.map.read_bytes() if media.map else b""
            mdhd = (find_box(init, "moov", "trak", "mdia", "mdhd")
                    or struct.pack(">4I", 0, 0, 0, 1))
            self.tracks[uri] = Track(
                uri.split("/")[0], media, b"vide" in init,
                struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0],
                init, [parse_fragments(p.read_bytes())
                       for _, p in media.segments])
        return self.tracks[uri]

    def videos(self):
        return [t for t in self.tracks.values() if t.video]

    def sounds(self):
        return [t for t in self.tracks.values() if not t.video]

    def variants(self):
        return [(v, self.track(v["URI"])) for v in self.master.variants]

    def sums(self, v):
        """(peak, average) of a variant with the most of its sounds."""
        peak, average = measured(self.track(v["URI"]).media)
        group = [measured(self.track(a["URI"]).media)
                 for a in self.master.audio
                 if a["GROUP-ID"] == v.get("AUDIO")]
        return (peak + max((p for p, _ in group), default=0),
                average + max((a for _, a in group), default=0))

    def iframes(self):
        """(attributes, [(seconds, length, offset, file)], tags)."""
        for v in self.master.iframes:
            path = self.hls / v["URI"]
            rows, tags, seconds, span = [], set(), None, None
            for line in lines_of(path):
                tag, _, value = line.partition(":")
                tags.add(tag if line.startswith("#") else "")
                if tag == "#EXTINF":
                    seconds = float(value.rstrip(","))
                elif tag == "#EXT-X-BYTERANGE":
                    span = tuple(map(int, value.split("@")))
                elif not line.startswith("#"):
                    rows.append((seconds, *span, path.parent / line))
            yield v, rows, tags


# --- what MUST be ------------------------------------------------------------

def containers(f):
    for v, t in f.variants():
        if not re.match(r"(avc1|hvc1)\.", v.get("CODECS", "")):
            yield f"{t.name}: {v.get('CODECS')}"
        if not t.init[4:8] == b"ftyp":
            yield f"{t.name}: not fragmented MP4"


def levels(f):
    for t in f.videos():
        if t.codec.startswith("avc1."):
            profile, level = int(t.codec[5:7], 16), int(t.codec[9:11], 16)
            if level > 52 or profile > 100:
                yield f"{t.name}: {t.codec}"


def hevc_levels(f):
    """general_profile_idc and general_level_idc of hvcC; its tier may be
    High, and a third of the level is the number people use times 10."""
    for t in f.videos():
        hvcc = re.search(rb"hvcC\x01(.{12})", t.init, re.S)
        if hvcc and (hvcc.group(1)[0] & 31 not in (1, 2)
                     or hvcc.group(1)[11] > 150):
            yield (f"{t.name}: profile {hvcc.group(1)[0] & 31}, level "
                   f"{hvcc.group(1)[11] / 30}")


def rates(f):
    for v, t in f.variants():
        if float(v.get("FRAME-RATE", 0)) > 60.001:
            yield f"{t.name}: {v['FRAME-RATE']} frames a second"


def sdr(f):
    if all(v.get("VIDEO-RANGE", "SDR") != "SDR" for v, _ in f.variants()):
        yield "nothing in SDR"


def averages(f):
    for v, t in f.variants():
        average = f.sums(v)[1]
        if abs(int(v.get("AVERAGE-BANDWIDTH", 0)) / average - 1) > 0.1:
            yield f"{t.name}: {v.get('AVERAGE-BANDWIDTH')}, is {average:.0f}"


def peaks(f):
    for v, t in f.variants():
        peak = f.sums(v)[0]
        if abs(int(v.get("BANDWIDTH", 0)) / peak - 1) > 0.1:
            yield f"{t.name}: {v.get('BANDWIDTH')}, is {peak:.0f}"


def bandwidth_sums(f):
    for v, t in f.variants():
        peak = f.sums(v)[0]
        if int(v.get("BANDWIDTH", 0)) < peak * 0.999 - 1:
            yield f"{t.name}: {v.get('BANDWIDTH')} is less than {peak:.0f}"


def stereo(f):
    if f.master.audio and not any(
            a.get("CHANNELS") == "2" and
            f.track(a["URI"]).codec == "mp4a.40.2" for a in f.master.audio):
        yield "no stereo AAC-LC"


def one_stream(f):
    for t in f.tracks.values():
        traks = [k for k, _, _ in boxes(find_box(t.init, "moov") or b"")
                 if k == "trak"]
        if len(traks) != 1:
            yield f"{t.name}: {len(traks)} streams"


def iframes_there(f):
    wanted = {t.name for t in f.videos()}
    found = {v["URI"].split("/")[0] for v in f.master.iframes}
    if wanted != found:
        yield f"I-frame playlists of {sorted(found)}, not {sorted(wanted)}"


def iframes_only(f):
    for v, _, tags in f.iframes():
        if "#EXT-X-I-FRAMES-ONLY" not in tags or "#EXT-X-MAP" not in tags:
            yield f"{v['URI']}: {sorted(tags)}"


def iframe_ranges(f):
    """Each range is a moof and, to the byte, the first sample behind it."""
    for v, rows, _ in f.iframes():
        pictures = {}
        for path in {r[3] for r in rows}:
            data = path.read_bytes()
            firsts = iter(parse_fragments(data))
            for kind, a, e in boxes(data):
                if kind == "moof":
                    pictures[path, a - 8] = e + 8 + len(next(firsts).first)
        for _, length, offset, path in rows:
            if pictures.get((path, offset)) != offset + length:
                yield f"{v['URI']}: {path.name}@{offset}: no whole picture"


def continuous(f):
    for t in f.tracks.values():
        at = None
        for x in t.fragments:
            if at is not None and x.tfdt != at:
                yield f"{t.name}: tfdt {x.tfdt} where {at} is due"
            at = x.tfdt + sum(x.durations)


def tfdt_and_extinf(f):
    for t in f.tracks.values():
        cuts, first = t.media.cuts, t.segments[0][0].tfdt
        for cut, s in zip(cuts, t.segments):
            at = (s[0].tfdt - first) / t.scale
            # the first segment of a sound has its priming too
            if abs(at - cut) > max(t.frame, 3 * AAC_FRAME * (not t.video)):
                yield f"{t.name}: a segment at {cut} has tfdt {at:.3f}"


def begins_with_idr(f):
    for t in f.videos():
        for x in t.fragments:
            idr = (has_idr(x.first) if t.codec.startswith("avc1")
                   else has_irap(x.first))
            if not x.sync[0] or not idr:
                yield f"{t.name}: a fragment at {x.tfdt} without IDR"


def segment_lengths(f):
    for t in f.tracks.values():
        for seconds, p in t.media.segments:
            if seconds > t.media.target + 0.5:
                yield f"{t.name}: {p.name} lasts {seconds}"


def extinf_sums(f):
    for t in f.tracks.values():
        told = t.media.cuts[-1]
        edit = 0 if t.video else 3 * AAC_FRAME      # priming
        if abs(told - t.seconds) > t.frame + edit:
            yield f"{t.name}: EXTINF say {told}, frames {t.seconds:.3f}"


def targets(f):
    if len({t.media.target for t in f.tracks.values()}) > 1:
        yield str({t.name: t.media.target for t in f.tracks.values()})


def same_lengths(f):
    """No track ends before the pictures do.  A sound that goes on after them
    in the source is kept."""
    longest = max(t.media.cuts[-1] for t in f.videos())
    for t in f.tracks.values():
        slack = max(0.1, max(v.frame for v in f.videos()))
        if t.media.cuts[-1] < longest - slack:
            yield f"{t.name}: {t.media.cuts[-1]} s of {longest} s"


def vod(f):
    for t in f.tracks.values():
        if t.media.kind != "VOD" or not t.media.ended:
            yield f"{t.name}: {t.media.kind}"


def same_range(f):
    for t in f.tracks.values():
        if t.segments and t.segments[0][0].tfdt != 0:
            yield f"{t.name}: begins at {t.segments[0][0].tfdt}"


def separate_sound(f):
    for v, t in f.variants():
        sounds = [a for a in f.master.audio if a["GROUP-ID"] == v.get("AUDIO")]
        if f.master.audio and not sounds:
            yield f"{t.name}: its group of sounds is empty"
        if b"soun" in t.init:
            yield f"{t.name}: carries sound itself"


def languages(f):
    for a in f.master.audio + f.master.texts:
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]+)*",
                            a.get("LANGUAGE", "")):
            yield f"{a['URI']}: LANGUAGE {a.get('LANGUAGE')!r}"
        if not a.get("NAME"):
            yield f"{a['URI']}: no NAME"


def maps(f):
    for t in f.tracks.values():
        if t.media.map is None or not t.init:
            yield f"{t.name}: no EXT-X-MAP"


def codecs(f):
    for v, t in f.variants():
        told = v.get("CODECS", "").split(",")
        sounds = {f.track(a["URI"]).codec for a in f.master.audio
                  if a["GROUP-ID"] == v.get("AUDIO")}
        same = (told[0] == t.codec if t.codec.startswith("avc1")
                else told[0].startswith(t.codec + "."))
        if not same or set(told[1:]) != sounds:
            yield f"{t.name}: {told}, is {t.codec}, {sorted(sounds)}"


def resolutions(f):
    for v, t in f.variants():
        if v.get("RESOLUTION") != "%dx%d" % t.size:
            yield f"{t.name}: {v.get('RESOLUTION')}, is {t.size}"


def iframe_facts(f):
    for v, rows, _ in f.iframes():
        t = next((t for t in f.videos()
                  if t.name == v["URI"].split("/")[0]), None)
        if t is None:
            continue            # 6.1 says so
        told = v.get("CODECS", "")
        if not told.startswith(t.codec) or "," in told:
            yield f"{v['URI']}: CODECS {told}"
        if v.get("RESOLUTION") != "%dx%d" % t.size:
            yield f"{v['URI']}: RESOLUTION {v.get('RESOLUTION')}"
        if int(v.get("BANDWIDTH", 0)) <= 0:
            yield f"{v['URI']}: BANDWIDTH {v.get('BANDWIDTH')}"
        if abs(sum(r[0] for r in rows) - t.media.cuts[-1]) > 2 * t.frame:
            yield f"{v['URI']}: its pictures do not cover the whole"


def frame_rates(f):
    for v, t in f.variants():
        usual = sorted(d for x in t.fragments for d in x.durations)
        is_ = t.scale / usual[len(usual) // 2]
        if abs(float(v.get("FRAME-RATE", 0)) - is_) > 0.01 * is_:
            yield f"{t.name}: {v.get('FRAME-RATE')}, is {is_:.3f}"


def video_ranges(f):
    for v, t in f.variants():
        colr = re.search(rb"colrnclx..(..)", t.init, re.S)
        trc = struct.unpack(">H", colr.group(1))[0] if colr else 1
        want = {16: "PQ", 18: "HLG"}.get(trc, "SDR")
        if v.get("VIDEO-RANGE", "SDR") != want:
            yield f"{t.name}: {v.get('VIDEO-RANGE')}, is {want}"
        if colr is None:
            yield f"{t.name}: colours are not told"


def zipped(f):
    names = {v["URI"] for v in f.master.variants + f.master.audio
             + f.master.texts + f.master.iframes}
    for name in names | {"master.m3u8"}:
        path = f.hls / name
        gz = path.parent / (path.name + ".gz")
        if not gz.is_file() or gzip.decompress(
                gz.read_bytes()) != path.read_bytes():
            yield f"{name}: no .gz of it"


# --- what SHOULD be ----------------------------------------------------------

def some_low_level(f):
    if not any(int(t.codec[9:11], 16) <= 41 for t in f.videos()
               if t.codec.startswith("avc1")):
        yield "nothing at level 4.1 or less"


def high(f):
    for t in f.videos():
        if t.codec.startswith("avc1") and t.codec[5:7] != "64":
            yield f"{t.name}: {t.codec}"


def not_in_band(f):
    for t in f.videos():
        if b"avc3" in t.init or b"hev1" in t.init:
            yield f"{t.name}: parameter sets are in the stream"


def idr_interval(f):
    for t in f.videos():
        for x in t.fragments:
            if sum(x.durations) / t.scale > 2 + 1.5 * t.frame:
                yield f"{t.name}: {sum(x.durations) / t.scale:.2f} s to an IDR"


def peak_to_average(f):
    for v, t in f.variants():
        peak, average = f.sums(v)
        if peak > 2 * average:
            yield f"{t.name}: peak {peak:.0f}, average {average:.0f}"


def first_variant(f):
    # of those that everybody can play, if there are any
    told = [v for v, _ in f.variants()]
    plain = [v for v in told if v["CODECS"].startswith("avc1")] or told
    if plain[0] is not told[0]:
        yield f"the first is {told[0]['CODECS']}"
    far = [abs(int(v["BANDWIDTH"]) - 2000000) for v in plain]
    if far[0] != min(far):
        yield f"the first has {f.master.variants[0]['BANDWIDTH']} bit/s"


def same_shape(f):
    shapes = {t.size for t in f.videos()}
    w, h = max(shapes)
    for x, y in shapes:
        if abs(x - y * w / h) > 2 and abs(y - x * h / w) > 2:
            yield f"{x}x{y} beside {w}x{h}"


def sound_rates(f):
    for a in f.master.audio:
        average = measured(f.track(a["URI"]).media)[1]
        if a.get("CHANNELS") == "2" and average > 176000:
            yield f"{a['URI']}: {average:.0f} bit/s"


def lc(f):
    for t in f.sounds():
        if t.codec != "mp4a.40.2":
            yield f"{t.name}: {t.codec}"


def six_seconds(f):
    for t in f.tracks.values():
        if t.media.target != 6:
            yield f"{t.name}: target {t.media.target}"


def aligned(f):
    cuts = {tuple(round(c, 3) for c in t.media.cuts) for t in f.videos()}
    if len(cuts) > 1:
        yield "rungs are cut at different times"


def independent(f):
    if not f.master.independent:
        yield "no EXT-X-INDEPENDENT-SEGMENTS"


# number: (what it asks, check) of what MUST be ...
MUSTS = {
    "1.2": ("H.264 in fMP4", containers),
    "1.3b": ("High, level 5.2 at most", levels),
    "1.6": ("HEVC: Main 10, level 5.0 at most", hevc_levels),
    "1.19": ("60 frames a second at most", rates),
    "1.24": ("SDR is there", sdr),
    "1.26": ("AVERAGE-BANDWIDTH within 10 %", averages),
    "1.27": ("BANDWIDTH within 10 %", peaks),
    "2.3": ("stereo AAC is there", stereo),
    "2.17": ("one stream a segment", one_stream),
    "6.1": ("I-frame playlists", iframes_there),
    "6.8": ("EXT-X-I-FRAMES-ONLY", iframes_only),
    "6.10": ("their ranges begin with moof", iframe_ranges),
    "7.1": ("no gaps", continuous),
    "7.3": ("tfdt as EXTINF", tfdt_and_extinf),
    "7.4": ("IDR first", begins_with_idr),
    "7.7": ("target + 0.5 s at most", segment_lengths),
    "8.1": ("EXTINF within a frame", extinf_sums),
    "8.2": ("one target", targets),
    "8.3": ("one length", same_lengths),
    "8.6": ("VOD", vod),
    "8.7": ("one range", same_range),
    "8.9": ("sound by EXT-X-MEDIA", separate_sound),
    "8.10": ("LANGUAGE", languages),
    "8.20": ("EXT-X-MAP", maps),
    "9.1": ("CODECS", codecs),
    "9.2": ("RESOLUTION", resolutions),
    "9.3": ("I-frame playlists described too", iframe_facts),
    "9.13": ("BANDWIDTH is the largest sum of peaks", bandwidth_sums),
    "9.15": ("FRAME-RATE", frame_rates),
    "9.16": ("VIDEO-RANGE as the colours are tagged", video_ranges),
    "10.1": ("gzip", zipped),
}

# ... of what SHOULD be ...
SHOULDS = {
    "1.3a": ("something at level 4.1", some_low_level),
    "1.4": ("High profile", high),
    "1.10": ("avc1, hvc1", not_in_band),
    "1.13": ("an IDR every 2 s", idr_interval),
    "1.30": ("peak twice the average at most", peak_to_average),
    "1.32": ("first the variant nearest to 2 Mbit/s", first_variant),
    "1.33": ("one aspect", same_shape),
    "2.4": ("AAC-LC", lc),
    "2.9": ("stereo of 160 kbit/s at most", sound_rates),
    "7.5": ("6 s", six_seconds),
    "8.22": ("all rungs cut alike", aligned),
    "9.11": ("EXT-X-INDEPENDENT-SEGMENTS", independent),
}

# ... and who else looks after a number, or why nobody has to.
ELSEWHERE = {
    "1.5": "1.2: HEVC is checked as H.264 is, in fMP4 only",
    "1.11": "x264 and x265 reckon the level from size, rate, references, VBV",
    "1.14": "combing is looked for on pixels, test_inputs_time.py",
    "1.15": "one frame for two fields, as the source's own rate says",
    "1.18": "frames are counted in test_inputs_time.py",
    "1.34": "lib/ladder.c caps 2160p at 15 Mbit/s",
    "2.18": "loudness is left as it was made",
    "6.2": "not pursued: it wants an encode of its own",
    "7.6": "7.5",
    "8.18": "delivery answers with files, t/api/test_delivery.py",
    "9.4": "9.3", "9.5": "8.9", "9.6": "8.9", "9.7": "8.9", "9.14": "1.26",
    "9.9": "a source under 720p has one rung: nothing to choose from",
    "9.10": "one variant a rung: the ladder is the product's contract",
    "9.21": "a rung for cellular links comes by a profile",
    "12.1": "TLS is the operator's server block",
}


def run(rules, folder):
    f = Folder(folder)
    return [f"{number} {what}" for number, (_, check) in rules.items()
            for what in check(f)]


def lint(folder):
    """What an output violates of what MUST be: ["7.4 480p: ...", ...]."""
    return run(MUSTS, folder)


def advice(folder):
    """The same of what SHOULD be."""
    return run(SHOULDS, folder)
