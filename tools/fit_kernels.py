"""Times of single kernels by the planner's formulas; used by fit_constants.py.

The same formulas as in src/plan/blocks.cc and src/plan/layer_parts.cc, for the three kinds of rows
in data/kernels.csv: grouped products alone, expert blocks of one rank, and MLA blocks.
"""
import csv
import math
import os


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Kernels:
    """Rows of data/kernels.csv beside what the formulas say of them."""

    def __init__(self, data):
        self.rows = read_csv(os.path.join(data, "kernels.csv"))
        self.gpus = {r["gpu"]: r for r in read_csv(os.path.join(data, "hardware.csv"))}
        m = next(r for r in read_csv(os.path.join(data, "models.csv")) if "R1" in r["model"])
        n = {k: int(m[k]) for k in ("hidden", "q_lora_rank", "kv_lora_rank", "qk_nope", "qk_rope",
                                    "v_head_dim", "q_heads", "moe_intermediate", "routed_experts",
                                    "top_k")}
        self.m = n
        self.expert = 3 * n["hidden"] * n["moe_intermediate"]
        heads, latent = n["q_heads"], n["kv_lora_rank"]
        self.projections = (n["hidden"] * n["q_lora_rank"]
                            + n["q_lora_rank"] * heads * (n["qk_nope"] + n["qk_rope"])
                            + n["hidden"] * (latent + n["qk_rope"])
                            + heads * latent * (n["qk_nope"] + n["v_head_dim"])
                            + heads * n["v_head_dim"] * n["hidden"])

    def errors(self, c):
        """ln(measured / formula) of each row; c holds every constant."""
        return [self.error(r, c) for r in self.rows]

    def error(self, row, c):
        gpu = self.gpus[row["hardware"]]
        peak, hbm = float(gpu["fp8_dense_tflops"]) * 1e12, float(gpu["hbm_tb_s"]) * 1e12
        share = 1 / (1 / c["flops_share"] + c["flops_slope"] * (peak / hbm) / 400)
        if row["op"] == "grouped_gemm_contiguous":
            return -math.log(float(row["tflops"]) * 1e12 / (share * peak))
        blackwell = gpu["fp4_dense_tflops"] != ""
        stream = hbm * c["stream_blackwell" if blackwell else "stream_hopper"]
        rate = share * peak
        block = self.experts if row["op"].startswith("moe_") else self.attention
        seconds = block(row, c, gpu, stream, rate, hbm * c["stream_activations"])
        return math.log(float(row["latency_us"]) * 1e-6 / seconds)

    @staticmethod
    def knee(a, b, c):
        p = c["knee_power"]
        return (a**p + b**p)**(1 / p)

    def experts(self, row, c, _, stream, rate, activations):
        m, tokens, held = self.m, float(row["tokens"]), self.m["routed_experts"] / float(row["ep"])
        active = held * min(1, tokens * m["top_k"] / m["routed_experts"])  # even routing
        routed = tokens * m["top_k"] / float(row["ep"])
        tiled = routed + active * c["tile_rows"] / 2
        moved = routed * (3 * m["hidden"] + 10 * m["moe_intermediate"])
        return (c["experts_fixed_us"] * 1e-6 + moved / activations
                + self.knee(active * self.expert / stream, 2 * tiled * self.expert / rate, c))

    def attention(self, row, c, gpu, stream, rate, activations):
        m, batch, context = self.m, float(row["tokens"]), float(row["kv_tokens"])
        width, heads = m["kv_lora_rank"] + m["qk_rope"], m["q_heads"]
        in_fp8 = gpu["fp4_dense_tflops"] and row["kv"] == "fp8"
        kind = "fp8_dense_tflops" if in_fp8 else "bf16_dense_tflops"
        scored = (batch * context * 2 * heads * (2 * m["kv_lora_rank"] + m["qk_rope"])
                  / (c["core_share_decode"] * float(gpu[kind]) * 1e12))
        read = batch * context * width * (1 if row["kv"] == "fp8" else 2) / activations
        per_head = batch * heads * (width + m["kv_lora_rank"]) * 4 / activations
        return (c["attention_fixed_us"] * 1e-6 + per_head
                + self.knee(self.projections / stream, 2 * batch * self.projections / rate, c)
                + self.knee(read, scored, c))
