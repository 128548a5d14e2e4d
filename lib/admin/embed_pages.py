"""Turns the files of the manager's pages into one C++ source: each with its type, its ETag, and as it is and gzipped.

Usage: embed_pages.py OUTPUT.cpp FILE...
"""

import gzip
import hashlib
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml"}
# A literal may not hold more than the compiler promises to take; so it is put together from lines.
LINE = 80


def literal(data):
    """Octal escapes always have three digits: so none runs into what follows it."""
    lines = [data[at:at + LINE] for at in range(0, len(data), LINE)]
    return "\n".join('      "' + "".join(
        chr(byte) if 32 <= byte < 127 and byte not in b'"\\?' else f"\\{byte:03o}" for byte in line) + '"'
        for line in lines)


def view(data):
    return f"std::string_view(\n{literal(data)},\n      {len(data)})"


def main():
    output, *names = sys.argv[1:]
    pages = []
    for path in sorted(map(pathlib.Path, names), key=lambda path: path.name):
        data = path.read_bytes()
        address = "/" if path.name == "index.html" else f"/assets/{path.name}"
        # Weak: the gzipped bytes are other bytes of the same text.
        etag = f'W/\\"{hashlib.sha256(data).hexdigest()[:16]}\\"'
        zipped = gzip.compress(data, compresslevel=9, mtime=0)
        pages.append(f'    {{"{address}", "{TYPES[path.suffix]}", "{etag}",\n     {view(data)},\n     {view(zipped)}}},\n')
    pathlib.Path(output).write_text(
        "// Made by embed_pages.py.\n"
        '#include "admin/pages.h"\n\n'
        "namespace proxycore::admin {\n\n"
        "namespace {\n\n"
        "constexpr Page pages[] = {\n" + "".join(pages) + "};\n\n"
        "}  // namespace\n\n"
        "std::span<const Page> embedded_pages() noexcept { return pages; }\n\n"
        "}  // namespace proxycore::admin\n")


if __name__ == "__main__":
    main()
