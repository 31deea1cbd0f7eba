"""Clips with something wrong in them."""

from .run import run_command


def damage_picture(src, dst):
    """Bytes of the largest picture in the middle become others; the file's
    structure stays whole."""
    rows = [x.rstrip(",").split(",") for x in run_command(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries",
         "packet=pos,size", "-of", "csv=p=0", src]).stdout.splitlines()]
    sizes = {int(pos): int(size) for size, pos in rows}
    middle = sorted(sizes)[len(sizes) // 3:len(sizes) * 2 // 3]
    pos = max(middle, key=sizes.get)
    data = bytearray(src.read_bytes())
    for i in range(pos + sizes[pos] // 3, pos + sizes[pos]):
        data[i] ^= 0x5a
    dst.write_bytes(data)
    return dst
