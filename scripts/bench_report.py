#!/usr/bin/env python3
"""Turns the records of one `make bench` into bench/report.html and the table of docs/performance.md.

usage: bench_report.py RESULTS_DIRECTORY COMMAND

Reads from the directory: *.jsonl (one record a line, as the programs of bench/ write them), *.gbench.json (Google
Benchmark) and *.bench.json (`wingspan bench --json`, the name says what was measured: see CONVERSIONS).
"""
import datetime
import html
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def record(name, params, metric, spread, limit=None, ratio=None, target=None):
    value, low, high = spread
    if ratio is None and limit:
        ratio = value / limit
    return {"name": name, "params": params, "metric": metric, "value": value, "min": low, "max": high,
            "limit": limit, "ratio": ratio, "target": target}


def spread(of):
    return of["median"], of["min"], of["max"]


def model_params(doc, row):
    return {"model": doc["model"], "batch": row["batch"], "ranks": row["ep"], "transport": doc["transport"],
            "context": doc["prompt_tokens"] + doc["decode_tokens"] // 2, "kernel": doc["kernel"]}


def decode_record(doc, row, name, target=None):
    return record(name, model_params(doc, row), "decode tokens/s", spread(row["decode_tokens_per_s"]),
                  row["decode_limit_tokens_per_s"], row["decode_of_limit"]["median"], target)


def small_parts_record(doc, row):
    """Router, head (with the choice of the token) and the step's bookkeeping: at most 10 % of a step."""
    ms = row["decode_ms"]
    percent = 100 * (ms["router"] + ms["head"] + ms["commit"]) / ms["total"]
    return record("small parts", model_params(doc, row), "router, head, commit: % of a decode step", (percent,) * 3,
                  limit=10, ratio=10 / percent, target=1)


def from_decode(doc, _):
    target = {1: 0.75, 64: 0.6}
    one = [row for row in doc["rows"] if row["ep"] == 1]
    return ([decode_record(doc, row, "decode", target.get(row["batch"])) for row in one] +
            [small_parts_record(doc, row) for row in one])


def from_prefill(doc, _):
    return [record("prefill", {**model_params(doc, row), "tokens": doc["prompt_tokens"] * row["batch"]},
                   "prefill tokens/s", spread(row["prefill_tokens_per_s"]), row["prefill_limit_tokens_per_s"],
                   row["prefill_of_limit"]["median"],
                   target=0.6 if doc["prompt_tokens"] == 512 else None) for row in doc["rows"]]


def from_ranks(doc, docs):
    """Widths beside one rank of the same run; the limit of a width is what one rank reached."""
    target = {("loopback", 8): 0.85, ("loopback", 64): 0.6, ("mpi", 4): 0.75}
    one = next(r for r in docs["ranks"]["rows"] if r["ep"] == 1)["decode_tokens_per_s"]["median"]
    out = []
    for row in doc["rows"]:
        if row["ep"] > 1:
            out.append(record("ranks beside one", model_params(doc, row), "decode tokens/s",
                              spread(row["decode_tokens_per_s"]), one,
                              target=target.get((doc["transport"], row["ep"]))))
    return out


def from_experts(doc, _):
    return [{**decode_record(doc, row, "experts"),
             "params": {**model_params(doc, row), "experts": int(doc["model"].split(",")[2])}} for row in doc["rows"]]


def from_context(doc, _):
    return [decode_record(doc, row, "context") for row in doc["rows"]]


def from_load(doc, _):
    load = doc["load"]
    return [record("load", {"model": doc["model"], "bytes": load["bytes"]}, "GB/s", spread(load["gb_per_s"]),
                   load["read_and_copy_gb_per_s"], target=0.7)]


# By the name before the first "-" or ".": ranks-mpi.bench.json is converted as "ranks".
CONVERSIONS = {"decode": from_decode, "ranks": from_ranks, "prefill": from_prefill, "experts": from_experts,
               "context": from_context, "load": from_load}


def from_google(path):
    for b in json.loads(path.read_text()).get("benchmarks", []):
        if b.get("run_type") == "iteration" and "error_message" not in b:
            yield record(path.name.split(".")[0], {"case": b["name"]}, f"time, {b['time_unit']}",
                         (b["real_time"],) * 3)


def collect(directory):
    records, docs = [], {}
    for path in sorted(directory.glob("*.bench.json")):
        if path.stat().st_size:
            docs[path.name.removesuffix(".bench.json")] = json.loads(path.read_text())
    for name, doc in docs.items():
        records += CONVERSIONS[re.split("[-.]", name)[0]](doc, docs)
    for path in sorted(directory.glob("*.jsonl")):
        records += [json.loads(line) for line in path.read_text().splitlines() if line]
    for path in sorted(directory.glob("*.gbench.json")):
        if path.stat().st_size:
            records += from_google(path)
    return records, docs


def number(x):
    if x is None:
        return ""
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.3g}"


def params_text(name, params):
    """The kernel's variant only where one table compares several."""
    hidden = {"model", "kernel", "threads"} | (set() if name == "gemm" else {"variant"})
    return ", ".join(f"{k} {v}" for k, v in params.items() if k not in hidden)


def row_cells(r):
    measured = number(r["value"])
    if r["min"] != r["max"]:
        measured += f" ({number(r['min'])}–{number(r['max'])})"
    ratio = "" if r["ratio"] is None else f"{r['ratio']:.2f}"
    target = "" if r["target"] is None else f"{r['target']:.2f}"
    reached = "" if r["target"] is None else ("yes" if r["ratio"] >= r["target"] else "no")
    return [r["name"], params_text(r["name"], r["params"]), r["metric"], measured, number(r["limit"]), ratio, target, reached]


HEAD = ["what", "case", "metric", "median (least–most)", "limit", "ratio", "target", "reached"]


def machine(docs):
    cpu = "unknown CPU"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    doc = next(iter(docs.values()), None)
    if doc is None:
        return cpu
    p = doc["probe"]
    reads = [d["probe"]["read_gb_s"] for d in docs.values()]
    peaks = [d["probe"]["peak_bf16_gflop_s"] for d in docs.values()]
    return (f"{cpu}, {doc['threads']} threads, kernels {doc['kernel']} ({doc['variant']}); probes: reads "
            f"{min(reads):.1f}–{max(reads):.1f} GB/s, multiplies BF16 at {min(peaks):.0f}–{max(peaks):.0f} GFLOP/s, "
            f"float32 at {p['peak_gflop_s']:.0f} GFLOP/s")


def commit():
    try:
        return subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown commit"


def plot(title, x_name, y_name, lines):
    """A log-log SVG of {label: [(x, y)]}."""
    import math
    lines = {k: sorted(p for p in v if p[0] > 0 and p[1] > 0) for k, v in lines.items()}
    points = [p for v in lines.values() for p in v]
    if len(points) < 2:
        return ""
    xs, ys = [math.log10(p[0]) for p in points], [math.log10(p[1]) for p in points]
    x0, x1, y0, y1 = min(xs), max(xs) + 1e-9, min(ys) - 0.05, max(ys) + 0.05
    at_x = lambda x: 70 + 430 * (math.log10(x) - x0) / (x1 - x0)
    at_y = lambda y: 250 - 210 * (math.log10(y) - y0) / (y1 - y0)
    colours = ["#1769aa", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#0f766e"]
    out = [f'<svg viewBox="0 0 700 300" role="img"><text x="70" y="20" class="t">{html.escape(title)}</text>',
           '<path d="M70 40V250H500" class="a"/>']
    for x in sorted({p[0] for p in points}):
        out.append(f'<text x="{at_x(x):.0f}" y="266" text-anchor="middle">{number(x)}</text>')
    for y in sorted({min(p[1] for p in points), max(p[1] for p in points)}):
        out.append(f'<text x="64" y="{at_y(y) + 4:.0f}" text-anchor="end">{number(y)}</text>')
    for i, (label, v) in enumerate(lines.items()):
        c = colours[i % len(colours)]
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in v)
        out.append(f'<polyline points="{path}" fill="none" stroke="{c}" stroke-width="2"/>')
        out += [f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{c}"><title>{number(x)}: {number(y)}'
                '</title></circle>' for x, y in v]
        out.append(f'<text x="515" y="{50 + 18 * i}" fill="{c}">{html.escape(label)}</text>')
    out.append(f'<text x="285" y="290" text-anchor="middle">{html.escape(x_name)}</text>'
               f'<text x="16" y="150" transform="rotate(-90 16 150)" text-anchor="middle">{html.escape(y_name)}</text>'
               '</svg>')
    return "\n".join(out)


def step_ms(r, value):
    """Of tokens/s of a batch: the time of a step."""
    return 1e3 * r["params"].get("tokens", r["params"]["batch"]) / value


def lines_over(records, name, key):
    chosen = [r for r in records if r["name"] == name and r["params"].get(key) is not None]
    lines = {}
    for r in chosen:
        lines.setdefault("measured", []).append((r["params"][key], step_ms(r, r["value"])))
        if r["limit"]:
            lines.setdefault("limit", []).append((r["params"][key], step_ms(r, r["limit"])))
    return lines


def layer_lines(records):
    lines = {}
    for r in records:
        p = r["params"]
        if not str(r["name"]).startswith("moe") or "tokens" not in p or not r["metric"].endswith("ms"):
            continue
        label = f"{r['name']} {p.get('weights', '')}"
        lines.setdefault(label, []).append((p["tokens"], r["value"]))
        if r["limit"]:
            lines.setdefault(label + " limit", []).append((p["tokens"], r["limit"]))
    return lines


def plots(records):
    ranks = {"measured": [(r["params"]["ranks"], step_ms(r, r["value"])) for r in records
                          if r["name"] == "ranks beside one" and r["params"]["transport"] == "loopback"]}
    for r in records:
        if r["name"] == "ranks beside one" and "one rank" not in ranks:
            ranks["one rank"] = [(1, step_ms(r, r["limit"])), (64, step_ms(r, r["limit"]))]
    return [plot("A decode step against sequences", "sequences", "ms", lines_over(records, "decode", "batch")),
            plot("An MoE layer against tokens, cold weights", "tokens", "ms", layer_lines(records)),
            plot("A prefill step against tokens", "tokens", "ms", lines_over(records, "prefill", "tokens")),
            plot("A decode step of 16 against experts", "experts", "ms", lines_over(records, "experts", "experts")),
            plot("A decode step of 64 against ranks", "ranks on this machine", "ms", ranks),
            plot("A decode step of one sequence against context", "positions", "ms",
                 lines_over(records, "context", "context"))]


STYLE = """body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#222}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.25em .6em;text-align:left}
.no{color:#b91c1c}.yes{color:#15803d}svg{width:48%;min-width:26em}svg text{font:12px system-ui;fill:#333}
svg .t{font-weight:600;font-size:14px}.a{stroke:#888;fill:none}"""


def page(records, docs, command):
    def cells(r):
        return "".join(f'<td class="{c if c in ("yes", "no") else ""}">{html.escape(c)}</td>' for c in row_cells(r))
    rows = "\n".join(f"<tr>{cells(r)}</tr>" for r in records)
    head = "".join(f"<th>{h}</th>" for h in HEAD)
    return (f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Wingspan: measured</title>'
            f"<style>{STYLE}</style><h1>Measured beside the machine's limits</h1>"
            f"<p>{html.escape(machine(docs))}. {datetime.date.today()}, {html.escape(commit())}, "
            f"<code>{html.escape(command)}</code>.</p>{''.join(plots(records))}"
            f"<table><tr>{head}</tr>{rows}</table>"
            f'<script type="application/json" id="records">{json.dumps(records).replace("</", "<" + chr(92) + "/")}'
            "</script></html>\n")


def table(records, docs, command):
    lines = [BEGIN, f"{machine(docs)}. {datetime.date.today()}, commit {commit()}, `{command}`.", "",
             "| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    lines += ["| " + " | ".join(row_cells(r)) + " |" for r in records if r["limit"]]
    return "\n".join(lines + [END])


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: bench_report.py RESULTS_DIRECTORY COMMAND")
    records, docs = collect(pathlib.Path(sys.argv[1]))
    if not records:
        sys.exit(f"bench_report: no records in {sys.argv[1]}: run scripts/bench.sh")
    (ROOT / "bench/report.html").write_text(page(records, docs, sys.argv[2]))
    document = ROOT / "docs/performance.md"
    text = document.read_text()
    if BEGIN not in text or END not in text:
        sys.exit(f"bench_report: {document} has no lines {BEGIN} and {END}")
    before, rest = text.split(BEGIN, 1)
    document.write_text(before + table(records, docs, sys.argv[2]) + rest.split(END, 1)[1])
    print(f"bench/report.html: {len(records)} records; the table of docs/performance.md is new")


if __name__ == "__main__":
    main()
