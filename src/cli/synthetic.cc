#include "cli/synthetic.h"

#include <fmt/format.h>

#include <cmath>

#include "cli/lists.h"

namespace wingspan {

Expected<ModelConfig> synthetic_config(const std::string& text, int64_t vocab) {
  WS_ASSIGN(auto n, parse_numbers(text, "--synthetic", 1, int64_t{1} << 18));
  if (n.size() != 5) {
    return invalid_input(fmt::format("{} numbers, not 5", n.size()), "--synthetic",
                         "give layers,hidden,experts,top-k,moe-intermediate");
  }
  if (n[0] > 1024 || n[2] > 65536 || n[3] > n[2] || n[1] < 64) {
    return invalid_input(
        fmt::format("layers {}, hidden {}, experts {}, top-k {} don't make a model", n[0], n[1],
                    n[2], n[3]),
        "--synthetic", "use at most 1024 layers, hidden ≥ 64, top-k ≤ experts");
  }
  ModelConfig c;
  c.family = "deepseek_v3";
  c.name = "synthetic " + text;
  c.layers = n[0];
  c.hidden = n[1];
  c.vocab = vocab;
  c.max_positions = 1 << 16;
  c.mla.heads = std::max<int64_t>(1, c.hidden / 64);
  c.mla.q_lora = c.hidden / 2;
  c.mla.kv_lora = std::min<int64_t>(512, c.hidden / 2);
  c.mla.nope = 64;
  c.mla.rope = 32;
  c.mla.v = 64;
  c.mla.softmax_scale = 1 / std::sqrt(static_cast<double>(c.mla.nope + c.mla.rope));
  c.mlp.assign(static_cast<size_t>(c.layers), MlpKind::kMoe);
  c.dense_width = n[4];
  RouterSpec& r = c.moe.router;
  r.experts = static_cast<int>(n[2]);
  r.top_k = static_cast<int>(n[3]);
  r.scoring = Scoring::kSigmoid;
  r.weights = RouterWeights::kRenormalized;
  r.epsilon = 1e-20F;
  c.moe.router_bias = true;
  c.moe.expert_width = n[4];
  return c;
}

}  // namespace wingspan
