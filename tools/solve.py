#!/usr/bin/env python3
"""Trains the net of a solver file; what `caffe train` was."""

import argparse
import shlex
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("solver", help="the solver file, e.g. solvers/quickstart.solver")
    parser.add_argument("--weights", metavar="FILE", help="start from the weights in this file, by layer name")
    parser.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="SNAPSHOT",
        help="go on from a snapshot; without a name, the newest whole one",
    )
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default: as solver_mode says")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="override a field of the solver (max_iter=100) or of a layer (data@TRAIN.data_param.batch_size=50)",
    )  # fmt: skip
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="the value of ${NAME}")
    parser.add_argument("--allow-python", action="store_true", help="let the Python layers of the net run their code")
    args = parser.parse_args()
    if args.weights and args.resume is not None:
        parser.error("--weights starts a run and --resume goes on with one: give one of them")

    from netspec import Solver, log_to_stderr, readable_errors
    from netspec.templates import definitions

    log_to_stderr()
    with readable_errors():
        weights = [f"weights={args.weights}"] if args.weights else []
        fresh = args.resume is None
        settings, define = [*args.settings, *weights], definitions(args.define)
        options = {"fresh": fresh, "define": define, "allow_python": args.allow_python}
        solver = Solver(args.solver, device=args.device, settings=settings, **options)
        if args.resume is not None:
            solver.resume(args.resume or None)
        finished = solver.solve()
    if not finished:
        settings = [word for setting in args.settings for word in ("--set", setting)]
        settings += [word for definition in args.define for word in ("--define", definition)]
        settings += ["--allow-python"] if args.allow_python else []
        device = ["--device", args.device] if args.device else []
        snapshot = [str(solver.last_snapshot)] if solver.last_snapshot else []
        words = ["python", sys.argv[0], args.solver, *device, *settings, "--resume", *snapshot]
        print("resume with:", shlex.join(words), file=sys.stderr)
    return 0 if finished else 128 + (solver.signals.stop or 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while Python still loads
        sys.exit("interrupted")
