"""The pictures of the demo site, drawn by code."""

import struct
import zlib

_BACKGROUNDS = ("#dbe7e4", "#f0e3d2", "#e2ddec")
_INKS = ("#2f5d62", "#a4562f", "#5b4b8a")
_SHAPES = {
    "lamps": '<path d="M70 40h60l25 60H45z"/><path d="M96 100h8v50h-8zM70 150h60v8H70z"/>',
    "chairs": '<path d="M65 35h12v60h58v12h-4v55h-9v-55H78v55h-9v-55h-4z"/>',
    "clocks": '<path d="M100 40a60 60 0 1 0 .1 0zm0 14a46 46 0 1 1-.1 0z"/><path d="M96 66h8v32l22 14-4 7-26-17z"/>',
    "vases": '<path d="M82 35h36v12l-8 18c28 22 32 70 10 95H80C58 135 62 87 90 65l-8-18z"/>',
}


def drawing_svg(kind: str, variant: int) -> str:
    """Return a picture of a lamp, chair, clock or vase in one of three colours."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 200 190" width="200" height="190">'
        f'<rect width="200" height="190" fill="{_BACKGROUNDS[variant]}"/>'
        f'<g fill="{_INKS[variant]}" fill-rule="evenodd">{_SHAPES[kind]}</g></svg>'
    )


def banner_png(width: int, height: int) -> bytes:
    """Return a PNG of hills under an evening sky, in true colour."""
    hills = [height * 0.5 + 30 * ((x % 180 - 90) / 90) ** 2 - 10 * ((x % 130 - 65) / 65) ** 2 for x in range(width)]
    rows = bytearray()
    for y in range(height):
        sky = bytes((244 - y // 2, 190 - y // 3, 140 + y // 3))
        rows.append(0)  # each row begins with its filter: none
        rows += b"".join(b"\x26\x46\x53" if y > hill else sky for hill in hills)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
