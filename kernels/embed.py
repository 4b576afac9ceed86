#!/usr/bin/env python3
"""Makes the kernels' texts a C header. Usage: embed.py OUT NAME=FILE[+FILE...]...

Each NAME becomes `static const unsigned char NAME[]`, with a NUL behind the text."""
import sys


def main() -> None:
    with open(sys.argv[1], "w", encoding="ascii") as out:
        out.write("/* Made by kernels/embed.py. */\n#pragma once\n")
        for argument in sys.argv[2:]:
            name, _, files = argument.partition("=")
            data = b""
            for path in files.split("+"):
                with open(path, "rb") as source:
                    data += source.read()
            if b"\0" in data:
                sys.exit(f"{files}: a NUL in a text")
            data += b"\0"
            out.write(f"\nstatic const unsigned char {name}[{len(data)}] = {{\n")
            for at in range(0, len(data), 24):
                out.write("    " + ",".join(map(str, data[at:at + 24])) + ",\n")
            out.write("};\n")


main()
