#!/usr/bin/env python3
"""Writes a net, a solver or a weights file of an older dialect in today's form. Comments are lost."""

import argparse
import sys
from pathlib import Path

from arguments import add_define


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="a net file, a solver file or a .caffemodel")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write; default, for a text: to the screen")
    add_define(parser)
    args = parser.parse_args()
    is_text = args.file.suffix != ".caffemodel"
    if not is_text and args.out is None:
        parser.error("weights need a file to go to: --out FILE")

    from netspec import readable_errors
    from netspec.files import write_whole
    from netspec.templates import definitions
    from netspec.upgrade import upgraded_text, upgraded_weights

    with readable_errors():
        content, forms = upgraded_text(args.file, definitions(args.define)) if is_text else upgraded_weights(args.file)
        if args.out is None:
            sys.stdout.write(content.decode())
        else:
            write_whole(args.out, content)
    was = f"upgraded from {', '.join(forms)}" if forms else "in the form of today already"
    print(f"{args.file}: {was}", file=sys.stderr)


if __name__ == "__main__":
    main()
