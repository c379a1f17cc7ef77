#!/usr/bin/env python3
"""Trains the net of a solver file; what `caffe train` was."""

import argparse
import gc
import logging
import os
import shlex
import sys
from typing import NoReturn

from arguments import add_allow_python, add_define

DIVERGED = 3
"""The exit code of a run whose loss is no number any more."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("solver", help="the solver file, e.g. solvers/quickstart.solver")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--weights", metavar="FILE,...", help="start from the weights in these files, by layer name")
    resume = "go on from a snapshot; without a name, the newest whole one"
    start.add_argument("--resume", nargs="?", const="", metavar="SNAPSHOT", help=resume)
    add("--device", help="cpu, cuda, cuda:1; default: as solver_mode says")
    setting = (
        "override a field of the solver (max_iter=100, stepvalue=60,80) or of a layer "
        "(data@TRAIN.data_param.batch_size=50)"
    )
    add("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=setting)
    add_define(parser)
    add_allow_python(parser)
    add("--quiet", action="store_true", help="log warnings and errors only, and show no progress bar")
    add("--dry-run", action="store_true", help="say what the run will be, try an iteration, and end")
    add("--plan", action="store_true", help="measure the forms of the layers, say which of them the run takes, and end")
    return parser.parse_args()


def resume_command(args: argparse.Namespace, snapshot: object) -> str:
    """The command that goes on with this run."""
    settings = [word for setting in args.settings for word in ("--set", setting)]
    settings += [word for definition in args.define for word in ("--define", definition)]
    settings += [f"--{name}" for name in ("allow-python", "quiet") if getattr(args, name.replace("-", "_"))]
    device = ["--device", args.device] if args.device else []
    words = ["python", sys.argv[0], args.solver, *device, *settings, "--resume", *([str(snapshot)] if snapshot else [])]
    return shlex.join(words)


def leave(code: int) -> NoReturn:
    """End the process. All is written and closed by now; to take apart what Python and PyTorch loaded, which the
    system does as well, would take 0.2 s."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # Python says what it could not write
    os._exit(code)


def main() -> int:
    args = parse()
    gc.disable()  # what is loaded now stays: to look through it for garbage takes 0.15 s now, 0.06 s at each other time
    from netspec import Solver, log_to_stderr, readable_errors
    from netspec.errors import DivergedError
    from netspec.solver.preview import preview
    from netspec.templates import definitions

    gc.freeze()
    gc.enable()
    log_to_stderr(logging.WARNING if args.quiet or args.dry_run or args.plan else logging.INFO)
    with readable_errors():
        settings = [*args.settings, *([f"weights={args.weights}"] if args.weights else [])]
        options = {"define": definitions(args.define), "allow_python": args.allow_python}
        solver = Solver(args.solver, device=args.device, settings=settings, fresh=args.resume is None, **options)
        if args.resume is not None:
            solver.resume(args.resume or None)
        if args.dry_run or args.plan:
            print(*(solver.plan() if args.plan else preview(solver)), sep="\n")
            solver.close()
            return 0
        try:
            finished = solver.solve()
        except DivergedError as error:
            print(f"error: {error}", file=sys.stderr)
            return DIVERGED
    if not finished:
        print("resume with:", resume_command(args, solver.last_snapshot), file=sys.stderr)
    return 0 if finished else 128 + (solver.signals.stop or 0)


if __name__ == "__main__":
    try:
        leave(main())
    except KeyboardInterrupt:  # while Python still loads
        sys.exit("interrupted")
