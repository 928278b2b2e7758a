#!/usr/bin/env python3
"""Writes a checkpoint of random BF16 weights, some 0.4 GB in the layout of models/wren, to measure loading.

usage: bench_checkpoint.py DIRECTORY
"""
import json
import os
import pathlib
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LAYERS, HIDDEN, EXPERTS, WIDTH, VOCAB = 3, 1024, 64, 384, 8192


def tensors(c):
    heads, nope, rope, v = (c["num_attention_heads"], c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"])
    q, kv = c["q_lora_rank"], c["kv_lora_rank"]
    out = {"model.embed_tokens.weight": [VOCAB, HIDDEN], "model.norm.weight": [HIDDEN], "lm_head.weight": [VOCAB, HIDDEN]}
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        a = p + "self_attn."
        out |= {p + "input_layernorm.weight": [HIDDEN], p + "post_attention_layernorm.weight": [HIDDEN],
                a + "q_a_proj.weight": [q, HIDDEN], a + "q_a_layernorm.weight": [q],
                a + "q_b_proj.weight": [heads * (nope + rope), q],
                a + "kv_a_proj_with_mqa.weight": [kv + rope, HIDDEN], a + "kv_a_layernorm.weight": [kv],
                a + "kv_b_proj.weight": [heads * (nope + v), kv], a + "o_proj.weight": [HIDDEN, heads * v]}

        def mlp(prefix, width):
            return {prefix + "gate_proj.weight": [width, HIDDEN], prefix + "up_proj.weight": [width, HIDDEN],
                    prefix + "down_proj.weight": [HIDDEN, width]}
        if layer < c["first_k_dense_replace"]:
            out |= mlp(p + "mlp.", c["intermediate_size"])
            continue
        out |= {p + "mlp.gate.weight": [EXPERTS, HIDDEN], p + "mlp.gate.e_score_correction_bias": [EXPERTS]}
        out |= mlp(p + "mlp.shared_experts.", c["n_shared_experts"] * WIDTH)
        for e in range(EXPERTS):
            out |= mlp(f"{p}mlp.experts.{e}.", WIDTH)
    return out


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: bench_checkpoint.py DIRECTORY")
    to = pathlib.Path(sys.argv[1])
    to.mkdir(parents=True, exist_ok=True)
    config = json.loads((ROOT / "models/wren/config.json").read_text())
    config.update(hidden_size=HIDDEN, num_hidden_layers=LAYERS, n_routed_experts=EXPERTS, moe_intermediate_size=WIDTH,
                  vocab_size=VOCAB, num_nextn_predict_layers=0, num_attention_heads=16, num_key_value_heads=16,
                  q_lora_rank=512, kv_lora_rank=512, qk_nope_head_dim=64, v_head_dim=64)
    (to / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for name, shape in tensors(config).items():
        size = 2
        for d in shape:
            size *= d
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # Small numbers: the exponent's upper bits are fixed, so that no sum overflows.
    noise = bytearray(os.urandom(1 << 20))
    noise[1::2] = bytes(0x3C | (b & 0x81) for b in noise[1::2])
    with open(to / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for begin in range(0, at, len(noise)):
            f.write(noise[:at - begin])


if __name__ == "__main__":
    main()
