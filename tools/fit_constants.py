#!/usr/bin/env python3
"""Fits the constants marked `fitted` in data/plan_constants.csv to the published measurements.

The formulas exist once, in the program: each trial calls `plan predict --validate --constants`.
Robust Gauss-Newton on log errors; each constant is held near its committed value by its stated
error, so one that the rows don't determine stays where its source put it.

Example: tools/fit_constants.py --program build/release/wingspan --output fitted.csv
"""
import argparse
import csv
import json
import math
import os
import subprocess
import sys
import tempfile

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "plan_constants.csv")
BEND = 0.04  # log error from which a row counts linearly
NOISE = 0.08  # log error of a typical measurement
WEAK = 0.25  # relative error of a constant that states none
LIMIT = {"untuned_share": 1, "two_batch_overlap": 1, "prefill_share": 1}  # shares of a whole


def read_constants():
    with open(DATA, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_constants(rows, values, path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        out.writeheader()
        for row in rows:
            name = row["name"]
            changed = dict(row, value="%.4g" % values[name]) if name in values else row
            out.writerow(changed)


def predict(program, rows, values):
    """Of the calibration rows: [(family, log error as throughput, error as printed)]."""
    handle, path = tempfile.mkstemp(suffix=".csv")
    os.close(handle)
    try:
        with open(path, "w", newline="", encoding="utf-8") as file:
            out = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
            out.writeheader()
            for row in rows:
                out.writerow(dict(row, value=repr(values.get(row["name"], float(row["value"])))))
        done = subprocess.run(
            [program, "plan", "predict", "--validate", "--json", "--constants", path],
            capture_output=True, text=True, check=False)
    finally:
        os.unlink(path)
    if done.returncode != 0:
        sys.exit("fit_constants: " + done.stderr.strip())
    return [(r["family"], r["log_error"], r["error"]) for r in json.loads(done.stdout)["rows"]
            if r["use"] == "fit" and not r["refusal"]]


def solve(matrix, right):
    n = len(right)
    a = [row[:] + [b] for row, b in zip(matrix, right)]
    for i in range(n):
        best = max(range(i, n), key=lambda r: abs(a[r][i]))
        a[i], a[best] = a[best], a[i]
        for r in range(n):
            if r != i:
                factor = a[r][i] / a[i][i]
                a[r] = [x - factor * y for x, y in zip(a[r], a[i])]
    return [a[i][n] / a[i][i] for i in range(n)]


def fit(program, rows, start, spread, without=None, rounds=4):
    """Values and their relative standard errors; rows of family `without` don't count."""
    names, logs = list(start), {n: math.log(v) for n, v in start.items()}
    normal = []
    for _ in range(rounds):
        values = {n: math.exp(x) for n, x in logs.items()}
        base = predict(program, rows, values)
        columns = []
        for n in names:
            moved = predict(program, rows, dict(values, **{n: values[n] * math.exp(0.02)}))
            columns.append([(m[1] - b[1]) / 0.02 for m, b in zip(moved, base)])
        weights = [0 if f == without else min(1, BEND / max(abs(e), 1e-9)) / NOISE**2
                   for f, e, _ in base]
        normal, right = [], []
        for i, n in enumerate(names):
            normal.append([sum(w * x * y for w, x, y in zip(weights, columns[i], c))
                           for c in columns])
            right.append(-sum(w * x * e[1] for w, x, e in zip(weights, columns[i], base)))
            normal[i][i] += 1 / spread[n]**2
            right[i] -= (logs[n] - math.log(start[n])) / spread[n]**2
        for n, step in zip(names, solve(normal, right)):
            logs[n] += max(-0.3, min(0.3, step))
            logs[n] = min(logs[n], math.log(LIMIT.get(n, math.inf)))
    unit = [[1.0 if i == j else 0.0 for j in range(len(names))] for i in range(len(names))]
    errors = {n: math.sqrt(solve(normal, unit[i])[i]) for i, n in enumerate(names)}
    return {n: math.exp(x) for n, x in logs.items()}, errors


def quantiles(errors):
    e = sorted(abs(x) for x in errors)
    at = lambda q: e[int(q * (len(e) - 1))] + (q * (len(e) - 1) % 1) * (
        e[min(int(q * (len(e) - 1)) + 1, len(e) - 1)] - e[int(q * (len(e) - 1))])
    return "median %.1f %%, p90 %.1f %%, worst %.1f %%" % (
        100 * at(0.5), 100 * at(0.9), 100 * at(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True, help="the built wingspan")
    parser.add_argument("--output", help="writes the constants with the fitted values")
    parser.add_argument("--left-out", action="store_true", help="also leaves out each family")
    args = parser.parse_args()
    rows = read_constants()
    start, spread = {}, {}
    for row in rows:
        if row["fitted"] == "yes" and not row["name"].startswith("interval_"):
            start[row["name"]] = float(row["value"])
            stated = row["error"].rstrip("% ")
            spread[row["name"]] = float(stated) / 100 if stated else WEAK
    print("before:", quantiles([e for _, _, e in predict(args.program, rows, start)]))
    values, errors = fit(args.program, rows, start, spread)
    after = predict(args.program, rows, values)
    print("after: ", quantiles([e for _, _, e in after]))
    for name, value in values.items():
        print("  %-24s %8.4g -> %8.4g  +-%.0f %%" % (name, start[name], value, 100 * errors[name]))
    if args.left_out:
        out = []
        for family in sorted({f for f, _, _ in after}):
            held, _ = fit(args.program, rows, start, spread, family, 2)
            out += [e for f, _, e in predict(args.program, rows, held) if f == family]
        print("leave one family out:", quantiles(out))
    if args.output:
        write_constants(rows, values, args.output)


if __name__ == "__main__":
    main()
