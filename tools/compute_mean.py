#!/usr/bin/env python3
"""Computes the mean image of a set, as Caffe's compute_image_mean does, and mean and deviation of each channel."""

import argparse
from pathlib import Path

from arguments import add_form_arguments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source", type=Path, metavar="SOURCE", help="a database, a list of images, or a folder of classes"
    )
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT.binaryproto", help="where to write the mean image")
    parser.add_argument(
        "-backend", "--backend", choices=["lmdb", "leveldb"], help="taken as in Caffe, but what is there decides"
    )
    parser.add_argument("--root_folder", default="", metavar="FOLDER/", help="what the paths of a list begin with")
    add_form_arguments(parser, of="of a list or a folder: ")
    args = parser.parse_intermixed_args()

    from netspec import readable_errors
    from netspec.data.form import caffe_form
    from netspec.data.mean_of_source import mean_report

    with readable_errors():
        form = caffe_form(args.gray, args.resize_height, args.resize_width)
        print(mean_report(args.source, args.out, args.root_folder, form))


if __name__ == "__main__":
    main()
