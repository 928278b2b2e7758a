// What the planner needs to know of a model: dimensions, from a row of models.csv or from a Hugging
// Face config.json. Numbers are doubles, since they only go into formulas.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "plan/table.h"

namespace wingspan {

struct PlanModel {
  std::string name;
  double layers = 0;        // all of them, MTP layers apart
  double dense_layers = 0;  // of these: without experts
  double hidden = 0, dense_width = 0, vocab = 0, mtp_layers = 0;
  double experts = 0, top_k = 0, expert_width = 0;  // 0 experts: a dense model
  double shared_width = 0;                          // of all shared experts together
  bool mla = false;
  double heads = 0, kv_heads = 0, head_dim = 0;                   // GQA
  double q_lora = 0, kv_lora = 0, nope = 0, rope = 0, v_dim = 0;  // MLA; q_lora 0: none
  double windowed_share = 0, window = 0;  // share of the layers that see only `window` tokens

  double moe_layers() const { return layers - dense_layers; }
  double expert_params() const { return 3 * hidden * expert_width; }
  double shared_params() const { return 3 * hidden * shared_width; }
  double dense_params() const { return 3 * hidden * dense_width; }
  // Of one layer's attention; MLA in its absorbed form.
  double attention_params() const;
  // Elements of the KV cache per token and layer.
  double kv_elements() const { return mla ? kv_lora + rope : 2 * kv_heads * head_dim; }
  // Flops of QK and PV per (query row, context token): decode (MLA: absorbed) and prefill.
  double decode_core_flops() const;
  double prefill_core_flops() const;
};

// One row. Errors (kInvalidInput) name the column.
Expected<PlanModel> model_of_row(const TableRow& row);
// config.json of DeepSeek V2/V3, Kimi, Qwen3, Qwen3-MoE, Mixtral, Llama, Llama 4, gpt-oss, GLM-4.5.
Expected<PlanModel> model_of_config(const Json& config, const std::string& where);

}  // namespace wingspan
