#!/usr/bin/env python3
"""Writes image files into a database, as Caffe's convert_imageset does.

The files are those of a list, "path label" a line, below ROOTFOLDER; or, without a list, of a folder of classes.
"""

import argparse
from pathlib import Path

from arguments import add_form_arguments, add_switch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="ROOTFOLDER/", help="what the paths of the list begin with; or the folder")
    parser.add_argument(
        "list", nargs="?", type=Path, metavar="LISTFILE", help="the list; without it: the folder's images"
    )
    parser.add_argument("out", type=Path, metavar="DB_NAME", help="the database to write: a new folder")
    add_form_arguments(parser)
    add_switch(parser, "shuffle", "in another order than that of the list")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides that order (default: %(default)s)")
    parser.add_argument("-backend", "--backend", choices=["lmdb", "hdf5"], default="lmdb", help="default: %(default)s")
    add_switch(parser, "check_size", "refuse images of several sizes")
    add_switch(parser, "encoded", "store image files, unchanged ones as they are")
    parser.add_argument("-encode_type", "--encode_type", choices=["jpg", "png"], help="the kind of those files")
    parser.add_argument("--labels", type=int, default=1, metavar="N", help="how many numbers end a line (default: 1)")
    parser.add_argument(
        "--skip_damaged", type=int, default=0, metavar="N", help="leave out up to N files that are no images"
    )
    parser.add_argument("--dry", action="store_true", help="count the images, name missing files, and write nothing")
    args = parser.parse_intermixed_args()

    from netspec import log_to_stderr, readable_errors
    from netspec.data.convert import census, convert
    from netspec.data.form import caffe_form
    from netspec.data.image_files import image_files

    log_to_stderr()
    with readable_errors():
        files = image_files(args.list or Path(args.root), args.root if args.list else "", args.labels)
        if args.dry:
            print(census(files))
            return
        form = caffe_form(args.gray, args.resize_height, args.resize_width, args.encoded, args.encode_type)
        order, skipped = {"shuffle": args.shuffle, "seed": args.seed}, args.skip_damaged
        print(convert(files, args.out, form, args.backend, **order, check_size=args.check_size, skip_damaged=skipped))


if __name__ == "__main__":
    main()
