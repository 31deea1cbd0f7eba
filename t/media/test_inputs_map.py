"""docs/inputs.md: each kind of input has a row, and each row a test."""

import ast
import pathlib
import re

from rig.run import ROOT

HERE = pathlib.Path(__file__).parent

# what must have a row, whatever else has one
KINDS = """rotation; mirroring; anamorphic; odd and tiny sizes; interlaced;
mixed interlaced; variable rate; broken rate; HDR10; HLG; Dolby Vision 8;
Dolby Vision 5; 10 bit; 12 bit; 4:2:2; 4:4:4; RGB; full range; alpha;
no audio; cover art; cover only; several video streams; data, timecode and
subtitle tracks; edit lists; absent duration; B-frames; negative and huge
timestamps; timestamp wrap; wrong claimed duration; size change; pixel format
or colour change; fragmented MP4; truncated tail; gap; encrypted; external
reference; damaged; absurd mastering peak; matrix not said; primaries; grey"""


def rows():
    text = (ROOT / "docs/inputs.md").read_text()
    found = re.findall(r"^\| ([^|]+) \| ([^|]+) \| `([\w.]+)::(\w+)` \|$",
                       text, re.M)
    lines = [x for x in text.splitlines() if x.startswith("| ")]
    assert len(found) == len(lines) - 1, "a row that cannot be read"
    return found


def functions(name):
    tree = ast.parse((HERE / name).read_text())
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
