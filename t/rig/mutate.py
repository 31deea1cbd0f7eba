"""Damaged copies of media files: deterministic by seed."""

import random
import struct

# words after which sizes and counts stand, in ISO files, Matroska and AVI
WORDS = [b"moov", b"trak", b"mdia", b"stbl", b"stsd", b"stts", b"ctts",
         b"stsc", b"stsz", b"stco", b"elst", b"mvhd", b"tkhd", b"mdhd",
         b"avcC", b"hvcC", b"av1C", b"esds", b"moof", b"traf", b"trun",
         b"tfhd", b"sidx", b"mdat", b"hdlr", b"dref", b"\x1a\x45\xdf\xa3",
         b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75",
         b"\x1c\x53\xbb\x6b", b"RIFF", b"LIST", b"strh", b"strf", b"idx1",
         b"avih", b"movi"]
NUMBERS = [0, 1, 7, 8, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8]


def _flip(r, data, _):
    for _ in range(r.choice((1, 2, 8, 64))):
        data[r.randrange(len(data))] ^= 1 << r.randrange(8)


def _head(r, data, _):
    """Bytes of the first part, where most of the structure is."""
    for _ in range(r.choice((1, 3, 10))):
        data[r.randrange(min(len(data), 2000))] = r.choice(
            (0, 1, 0x7f, 0x80, 0xff, r.randrange(256)))


def _truncate(r, data, _):
    del data[r.randrange(1, len(data)):]


def _swap(r, data, _):
    n = r.randrange(1, min(4096, len(data) // 2))
    a, b = (r.randrange(len(data) - n) for _ in range(2))
    data[a:a + n], data[b:b + n] = data[b:b + n], data[a:a + n]


def _size(r, data, _):
    """A size in front of a word, or numbers behind it."""
    here = [w for w in WORDS if w in data]
    if not here:
        return _head(r, data, _)
    for _ in range(r.choice((1, 1, 2, 4))):
        word = r.choice(here)
        at = data.find(word)
        at += r.choice((-4, 4, 8, 12, 16, 20))
        if 0 <= at <= len(data) - 4:
            data[at:at + 4] = struct.pack(r.choice("><") + "I",
                                          r.choice(NUMBERS))


def _splice(r, data, other):
    at, n = r.randrange(len(data)), r.randrange(1, 8192)
    begin = r.randrange(len(other))
    data[at:at + (n if r.random() < 0.5 else 0)] = other[begin:begin + n]


def _hole(r, data, _):
    at, n = r.randrange(len(data)), r.choice((4, 100, 4096))
    data[at:at + n] = bytes(n) if r.random() < 0.5 else r.randbytes(n)


def _repeat(r, data, _):
    at, n = r.randrange(len(data)), r.choice((16, 188, 2048))
    data[at:at] = data[at:at + n] * r.choice((1, 10, 100))


KINDS = [_flip, _head, _truncate, _swap, _size, _size, _splice, _hole,
         _repeat]


def mutant(sources, seed):
    """One of the sources (bytes), damaged once to three times."""
    r = random.Random(seed)
    data = bytearray(r.choice(sources))
    for _ in range(r.choice((1, 1, 2, 3))):
        if len(data) > 16:
            r.choice(KINDS)(r, data, r.choice(sources))
    return bytes(data)
