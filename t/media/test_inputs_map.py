"""docs/inputs.md: each kind of input has a row, and each row a test."""

import ast
import pathlib
import re

from rig.run import ROOT

T = pathlib.Path(__file__).parents[1]

# what must have a row, whatever else has one
KINDS = """rotation; mirroring; anamorphic; odd and tiny sizes; interlaced;
mixed interlaced; variable rate; broken rate; HDR10; HLG; Dolby Vision 8;
Dolby Vision 5; 10 bit; 12 bit; 4:2:2; 4:4:4; RGB; full range; alpha;
no audio; cover art; cover only; several video streams; data, timecode and
subtitle tracks; edit lists; absent duration; B-frames; negative and huge
timestamps; timestamp wrap; wrong claimed duration; size change; pixel format
or colour change; fragmented MP4; truncated tail; gap; encrypted; external
reference; damaged; absurd mastering peak; matrix not said; primaries; grey;
playlists and documents; stills; playlist within an AVI; codec that is not
decoded; nothing, zeros; random bytes; index cut off; tables of billions;
one size for billions; boxes in boxes; box sizes; too many pixels; pixels
that only the codec tells; a day; rate of thousands; hours between two
pictures; clock set forward; many streams; audio only; samples of no bytes;
stamps in disorder; absurd edit list; attachments; laces; elements in
elements; huge title; titles with markup; polyglots; child that crashes;
frames that fields could be; level above; captions in what;
tracks of codecs that are not decoded; an hour; many audio tracks; mono; 5.1;
odd sample rates; text subtitles; CEA-608; CEA-708"""


def rows():
    text = (ROOT / "docs/inputs.md").read_text()
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w./]+)::(\w+)` \|$",
                       text, re.M)
    lines = [x for x in text.splitlines() if x.startswith("| ")]
    heads = text.count("| kind | ")
    assert len(found) == len(lines) - heads, "a row that cannot be read"
    return found


def functions(name):
    """Of a file in t/media, or elsewhere in t when it names its folder."""
    path = T / name if "/" in name else T / "media" / name
    tree = ast.parse(path.read_text())
    return {x.name: x for x in tree.body if isinstance(x, ast.FunctionDef)}


def test_every_row_has_its_test():
    for kind, comes_out, name, test in rows():
        body = functions(name).get(test)
        assert body is not None, f"{kind}: {name} has no {test}"
        assert comes_out.strip()
        # collected, and not switched off
        marks = " ".join(ast.unparse(d) for d in body.decorator_list)
        assert test.startswith("test_") and "skip" not in marks, kind
        assert "xfail" not in marks, kind


def test_no_kind_is_missing():
    have = [kind for kind, *_ in rows()]
    for kind in re.sub(r"\s+", " ", KINDS).split("; "):
        assert any(h.startswith(kind) for h in have), kind
    assert len(have) == len(set(have))
