"""Robust Gauss-Newton on logarithms, in plain Python; used by fit_constants.py."""
import math


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


def slopes(errors_of, values, base):
    """Change of each error per relative change of each value, one list a value."""
    out = {}
    for name in values:
        moved = errors_of(dict(values, **{name: values[name] * math.exp(0.02)}))
        out[name] = [(m - b) / 0.02 for m, b in zip(moved, base)]
    return out


def weights_of(errors, counts, noise, bend):
    return [c * min(1, bend / max(abs(e), 1e-9)) / noise**2 for c, e in zip(counts, errors)]


def normal_matrix(columns, weights, prior):
    names = list(columns)
    out = [[sum(w * x * y for w, x, y in zip(weights, columns[n], columns[m])) for m in names]
           for n in names]
    for i, n in enumerate(names):
        out[i][i] += 1 / prior[n][1]**2
    return out


def fit(errors_of, start, prior, limit, counts, noise, bend, rounds, fixed_slopes=None):
    """Values that make errors_of(values) small, and their relative standard errors.

    prior: {name: (value, relative error)}; limit: {name: largest value}; counts: 0 or 1 a row;
    noise: log error of a typical row; from `bend` on an error counts linearly. With fixed_slopes
    the slopes are not taken anew in each round.
    """
    names, logs = list(start), {n: math.log(v) for n, v in start.items()}
    normal = []
    for _ in range(rounds):
        values = {n: math.exp(x) for n, x in logs.items()}
        base = errors_of(values)
        columns = fixed_slopes or slopes(errors_of, values, base)
        weights = weights_of(base, counts, noise, bend)
        normal, right = normal_matrix(columns, weights, prior), []
        for n in names:
            value, spread = prior[n]
            right.append(-sum(w * x * e for w, x, e in zip(weights, columns[n], base))
                         - (logs[n] - math.log(value)) / spread**2)
        for n, step in zip(names, solve(normal, right)):
            logs[n] = min(logs[n] + max(-0.3, min(0.3, step)), math.log(limit.get(n, math.inf)))
    unit = [[1.0 if i == j else 0.0 for j in range(len(names))] for i in range(len(names))]
    errors = {n: math.sqrt(solve(normal, unit[i])[i]) for i, n in enumerate(names)}
    return {n: math.exp(x) for n, x in logs.items()}, errors
