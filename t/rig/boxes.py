"""MP4 and MOV boxes: found, changed, put in.

    data = bytearray(path.read_bytes())
    for at, end in find(data, "moov", "trak", "tkhd"):   # bodies
        ...
    data = insert(data, edts([(2000, 0), (1000, 5000)]), "moov", "trak")

`insert` and `replace` keep the sizes of what is around and the offsets of
chunks right.
"""

import struct

PARENTS = {"moov", "trak", "mdia", "minf", "stbl", "edts", "dinf", "udta"}


def boxes(data, at=0, end=None):
    """(type, start of the box, start of its body, end)."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        elif size == 0:
            size = end - at
        assert head <= size <= end - at, (kind, at, size)
        yield kind.decode("latin-1"), at, at + head, at + size
        at += size


def find(data, *path, at=0, end=None):
    """[(start, end) of the body] of every box with this path."""
    found = []
    for kind, _, body, stop in boxes(data, at, end):
        if kind == path[0]:
            found += ([(body, stop)] if len(path) == 1 else
                      find(data, *path[1:], at=body, end=stop))
    return found


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind.encode("latin-1")) + body


def edts(edits):
    """An edit list of (length in the movie's ticks, start in the track's;
    start -1: nothing is shown)."""
    return box("edts", box("elst", struct.pack(">II", 0, len(edits)), *(
        struct.pack(">IiI", length, start, 0x10000)
        for length, start in edits)))


def matrix(a, b, c, d):
    """The nine numbers of a display matrix: x' = a x + c y, y' = b x + d y.
    """
    one = 0x10000
    return struct.pack(">9i", a * one, b * one, 0, c * one, d * one, 0, 0, 0,
                       0x40000000)


def set_matrix(data, nine, track=0):
    """Of a track's tkhd."""
    at, _ = find(data, "moov", "trak", "tkhd")[track]
    at += 40 + (12 if data[at] else 0)
    data[at:at + 36] = nine
    return data


def set_length(data, seconds):
    """What mvhd, tkhd and mdhd claim (version 0), all tracks."""
    (at, _), = find(data, "moov", "mvhd")
    scale = struct.unpack_from(">I", data, at + 12)[0]
    struct.pack_into(">I", data, at + 16, int(seconds * scale))
    for at, _ in find(data, "moov", "trak", "tkhd"):
        struct.pack_into(">I", data, at + 20, int(seconds * scale))
    for at, _ in find(data, "moov", "trak", "mdia", "mdhd"):
        own = struct.unpack_from(">I", data, at + 12)[0]
        struct.pack_into(">I", data, at + 16,
                         min(int(seconds * own), 0xfffffffe))
    return data


def _shift_offsets(data, from_, by):
    """stco of chunks behind `from_` when `by` bytes come in before them."""
    for at, _ in find(data, "moov", "trak", "mdia", "minf", "stbl", "stco"):
        count = struct.unpack_from(">I", data, at + 4)[0]
        for i in range(count):
            old = struct.unpack_from(">I", data, at + 8 + 4 * i)[0]
            if old >= from_:
                struct.pack_into(">I", data, at + 8 + 4 * i, old + by)


def _splice(data, start, stop, new, parents):
    by = len(new) - (stop - start)
    _shift_offsets(data, stop, by)
    for at in parents:
        size = struct.unpack_from(">I", data, at)[0]
        struct.pack_into(">I", data, at, size + by)
    data[start:stop] = new
    return data


def _walk(data, path, which):
    """Starts of the boxes on the way, and where the last begins and ends."""
    at, end, parents = 0, len(data), []
    for i, want in enumerate(path):
        found = [x for x in boxes(data, at, end) if x[0] == want]
        assert found, f"no {want}"
        _, start, at, end = found[which if want == "trak" else 0]
        parents.append(start)
    return parents, end


def insert(data, new, *path, which=0):
    """Puts a box at the end of the one that `path` names (`which`: trak)."""
    parents, end = _walk(data, path, which)
    return _splice(data, end, end, new, parents)


def replace(data, new, *path, which=0):
    """Puts `new` in the place of a box; b"" takes it out."""
    parents, end = _walk(data, path, which)
    return _splice(data, parents[-1], end, new, parents[:-1])


def set_edits(data, edits, which=0):
    """A track's edit list, instead of the one it had."""
    parents, end = _walk(data, ("moov", "trak"), which)
    body = parents[-1] + 8
    if any(k == "edts" for k, *_ in boxes(data, body, end)):
        replace(data, b"", "moov", "trak", "edts", which=which)
    return insert(data, edts(edits), "moov", "trak", which=which)


def grow(data, at, new, *path, which=0):
    """Puts bytes in at `at`, within the boxes of `path`."""
    parents, _ = _walk(data, path, which)
    return _splice(data, at, at, new, parents)
