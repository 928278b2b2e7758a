#!/usr/bin/env python3
"""Makes data/plan_constants.csv from data/plan_priors.csv and the measurements, in one run.

Of each constant plan_priors.csv says where its value comes from:
  given    taken as it stands
  kernels  fitted to single kernels (data/kernels.csv), the prior being wide
  rows     fitted to the end-to-end rows `use=fit` of data/measurements.csv, through the program
           itself: each trial calls `plan predict --validate --constants`
  errors   width of an interval: 80 % quantile of the errors of like rows in fits without their
           family, drawn towards that of all rows

No prior rests on end-to-end rows, so the errors with a family left out are honest. The same files
give the same constants.

Example: tools/fit_constants.py --program build/release/wingspan --check
"""
import argparse
import csv
import io
import json
import math
import os
import subprocess
import sys
import tempfile

from fit_kernels import Kernels, read_csv
from fit_least_squares import fit, slopes

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
# Log errors: of a typical measurement, and from which one counts linearly.
ROWS = {"noise": 0.08, "bend": 0.04}
KERNELS = {"noise": 0.06, "bend": 0.06}
LIMIT = {"flops_share": 0.99, "untuned_share": 1, "two_batch_overlap": 1, "prefill_share": 1}
SHRINK = 4  # rows' worth of weight that the errors of unlike rows have in an interval
COLUMNS = ["name", "value", "unit", "error", "fitted", "source"]


class Program:
    """The built wingspan, asked for the calibration rows under trial constants."""

    def __init__(self, path, priors):
        self.path, self.priors = path, priors

    def rows(self, values):
        handle, path = tempfile.mkstemp(suffix=".csv")
        os.close(handle)
        try:
            with open(path, "w", newline="", encoding="utf-8") as file:
                out = csv.writer(file, lineterminator="\n")
                out.writerow(COLUMNS)
                for p in self.priors:
                    value = repr(values.get(p["name"], float(p["value"])))
                    out.writerow([p["name"], value, p["unit"], "", "", ""])
            done = subprocess.run(
                [self.path, "plan", "predict", "--validate", "--json", "--constants", path],
                capture_output=True, text=True, check=False)
        finally:
            os.unlink(path)
        if done.returncode != 0:
            sys.exit("fit_constants: " + done.stderr.strip())
        return [r for r in json.loads(done.stdout)["rows"]
                if r["use"] == "fit" and not r["refusal"]]

    def errors(self, values):
        return [r["log_error"] for r in self.rows(values)]


def quantile(values, q):
    e = sorted(values)
    at = q * (len(e) - 1)
    low = int(at)
    return e[low] + (at - low) * (e[min(low + 1, len(e) - 1)] - e[low])


def relative(text):
    return float(text.rstrip("% ")) / 100


def named(priors, kind):
    return {p["name"]: (float(p["value"]), relative(p["error"])) for p in priors
            if kind in p["from"].split("+")}


def values_of(prior):
    return {n: v for n, (v, _) in prior.items()}


def fit_kernels(priors):
    """Values and errors of the constants that single kernels tell."""
    kernels, prior = Kernels(DATA), named(priors, "kernels")
    every = {p["name"]: float(p["value"]) for p in priors}
    errors_of = lambda values: kernels.errors(dict(every, **values))
    values, errors = fit(errors_of, values_of(prior), prior, LIMIT, [1] * len(kernels.rows),
                         rounds=8, **KERNELS)
    left = [abs(e) for e in errors_of(values)]
    print("kernels: %d rows, median %.1f %%, p90 %.1f %%" % (
        len(left), 100 * quantile(left, 0.5), 100 * quantile(left, 0.9)))
    return values, errors


def group_of(family):
    """Rows whose errors tell the width of one interval."""
    if not family.startswith("decode"):
        return "interval_" + family
    return "interval_decode" if "NVL72" in family else "interval_decode_scaleout"


def widths(left_out):
    """left_out: rows as a fit without their family predicts them."""
    overall = quantile([abs(r["log_error"]) for r in left_out], 0.8)
    out = {}
    for group in sorted({group_of(r["family"]) for r in left_out}):
        own = [abs(r["log_error"]) for r in left_out if group_of(r["family"]) == group]
        mean = (len(own) * quantile(own, 0.8)**2 + SHRINK * overall**2) / (len(own) + SHRINK)
        out[group] = math.sqrt(mean)
    return out


def fit_rows(program, priors, kernels, kernel_errors):
    """Values and errors of all that is fitted, and the rows as a fit without their family predicts
    them."""
    prior = named(priors, "rows")
    for name in set(prior) & set(kernels):
        prior[name] = (kernels[name], max(0.1, kernel_errors[name]))
    errors_of = lambda values: program.errors(dict(kernels, **values))
    base_rows = program.rows(kernels)
    all_of_them = [1] * len(base_rows)
    values, errors = fit(errors_of, values_of(prior), prior, LIMIT, all_of_them, rounds=5, **ROWS)
    base = errors_of(values)
    slope = slopes(errors_of, values, base)
    left_out = []
    for family in sorted({r["family"] for r in base_rows}):
        counts = [0 if r["family"] == family else 1 for r in base_rows]
        held, _ = fit(errors_of, values, prior, LIMIT, counts, rounds=6, fixed_slopes=slope, **ROWS)
        left_out += [r for r in program.rows(dict(kernels, **held)) if r["family"] == family]
    values = dict(kernels, **values)
    values.update(widths(left_out))
    return values, dict(kernel_errors, **errors), left_out


def show(title, rows):
    e = [abs(r["error"]) for r in rows]
    bias = sum(r["log_error"] for r in rows) / len(rows)
    print("%-32s %4d %8.1f %8.1f %8.1f %+8.1f" % (
        title, len(e), 100 * quantile(e, 0.5), 100 * quantile(e, 0.9), 100 * max(e), 100 * bias))


def report(program, values, errors, left_out):
    print("%-32s %4s %8s %8s %8s %8s" % ("errors in %", "rows", "median", "p90", "worst", "bias"))
    inside = program.rows(values)
    show("all rows, in the fit", inside)
    for family in sorted({r["family"] for r in left_out}):
        show("left out: " + family, [r for r in left_out if r["family"] == family])
    show("each family left out once", left_out)
    for title, rows in (("in the fit", inside), ("with their family left out", left_out)):
        within = sum(abs(r["log_error"]) <= values[group_of(r["family"])] for r in rows)
        print("in their interval, %s: %.0f %%" % (title, 100 * within / len(rows)))
    for name, value in values.items():
        spread = ", +-%.0f %%" % (100 * errors[name]) if name in errors else ""
        print("  %-24s %8.4g%s" % (name, value, spread))


def csv_text(priors, values, errors):
    file = io.StringIO()
    out = csv.writer(file, lineterminator="\n")
    out.writerow(COLUMNS)
    for p in priors:
        name, given = p["name"], p["from"] == "given"
        value = p["value"] if given else "%.4g" % values[name]
        error = p["error"] if given else "%.0f %%" % (100 * errors[name]) if name in errors else ""
        out.writerow([name, value, p["unit"], error, "no" if given else p["from"], p["source"]])
    return file.getvalue()


def same(made, found):
    """Equal but for the last digit of a number, which a compiler's arithmetic may turn."""
    made, found = (list(csv.reader(io.StringIO(t))) for t in (made, found))
    if len(made) != len(found) or made[0] != found[0]:
        return False
    for a, b in zip(made[1:], found[1:]):
        if a[:1] + a[2:3] + a[4:] != b[:1] + b[2:3] + b[4:]:
            return False
        if abs(float(a[1]) - float(b[1])) > 2e-3 * abs(float(a[1])):
            return False
        if a[3] != b[3] and abs(relative(a[3] or "0") - relative(b[3] or "0")) > 0.0101:
            return False
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built wingspan")
    parser.add_argument("--output", default=os.path.join(DATA, "plan_constants.csv"),
                        help="the file to write (default: data/plan_constants.csv)")
    parser.add_argument("--check", action="store_true",
                        help="write nothing; exit 1 if the file is not what this makes")
    args = parser.parse_args()
    if not os.access(args.program, os.X_OK):
        parser.error("%s can't be run; build the target wingspan first" % args.program)
    priors = read_csv(os.path.join(DATA, "plan_priors.csv"))
    kernels, kernel_errors = fit_kernels(priors)
    program = Program(args.program, priors)
    values, errors, left_out = fit_rows(program, priors, kernels, kernel_errors)
    report(program, values, errors, left_out)
    text = csv_text(priors, values, errors)
    if args.check:
        with open(args.output, encoding="utf-8") as file:
            if not same(text, file.read()):
                sys.exit("fit_constants: %s is not what the measurements make; run this without "
                         "--check" % os.path.relpath(args.output))
        return
    with open(args.output, "w", newline="", encoding="utf-8") as file:
        file.write(text)


if __name__ == "__main__":
    main()
