#!/usr/bin/env python3
"""Turns mime.tsv (type, tab, extensions) into a C table sorted by extension. Usage: gen_mime.py IN OUT"""
import sys


def main() -> None:
    rows = []
    with open(sys.argv[1], encoding="ascii") as source:
        for line in source:
            if line.startswith("#") or not line.strip():
                continue
            mime, extensions = line.rstrip("\n").split("\t")
            rows += [(extension, mime) for extension in extensions.split()]
    rows.sort(key=lambda row: row[0].encode())
    if len({row[0] for row in rows}) != len(rows):
        sys.exit("mime.tsv: an extension is listed twice")

    offsets, texts, size = {}, [], 0
    for text in sorted({text for row in rows for text in row}):
        offsets[text] = size
        texts.append(text)
        size += len(text) + 1
    if size > 65535:
        sys.exit("mime.tsv: too much text for 16-bit offsets")

    with open(sys.argv[2], "w", encoding="ascii") as out:
        out.write("/* Made by gen_mime.py from mime.tsv. */\n#pragma once\n\n#include <stdint.h>\n\n")
        out.write("/* NOLINTBEGIN(bugprone-string-literal-with-embedded-nul): a NUL ends each text. */\n")
        out.write("static const char mime_text[] =\n")
        out.write("".join(f'    "{text}\\0"\n' for text in texts))
        out.write("    ;\n/* NOLINTEND(bugprone-string-literal-with-embedded-nul) */\n\nstatic const struct {\n    uint16_t extension, type; /* offsets in mime_text */\n")
        out.write("} mime_rows[] = {\n")
        out.write("".join(f"    {{ {offsets[ext]}, {offsets[mime]} }},\n" for ext, mime in rows))
        out.write("};\n")


main()
