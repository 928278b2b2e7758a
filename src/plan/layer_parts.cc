// The parts of one layer that compute: attention, expert and shared products, and the rest.
#include <algorithm>
#include <cmath>

#include "plan/step.h"

namespace wingspan::plan_detail {

Piece StepModel::attention_core(const Rows& rows) {
  // Windowed layers see less; the mean over the layers.
  const auto seen = [&](double tokens) {
    return (1 - m_.windowed_share) * tokens + m_.windowed_share * std::min(tokens, m_.window);
  };
  const double context = seen(rows.context);
  const double copies = m_.mla ? tp_ : tp_ / std::min(tp_, m_.kv_heads);
  const double layer_kv = m_.kv_elements() * dtype_bytes(s_.kv);
  const double read_s =
      rows.sequences * copies * seen(rows.kv_tokens) * layer_kv / activation_bytes_per_s(g_, c_);
  double peak = g_.bf16;
  if (s_.attention_math) {
    peak = peak_flops(g_, *s_.attention_math);
  } else if (!prefill_ && g_.blackwell && s_.kv == PlanDType::kFp8) {
    peak = g_.fp8;
  }
  const double flops = prefill_ ? m_.prefill_core_flops() : m_.decode_core_flops();
  const double share = prefill_ ? c_.core_share_prefill : c_.core_share_decode;
  // In decode the exponentials hide behind products and reads: a GPU with twice the rate (GB300
  // beside GB200) is no faster. Prefill sees them.
  const double passes = prefill_ ? c_.softmax_passes : 0;
  const double score_s = flops / (share * peak) + passes * m_.heads / g_.exponentials_per_s;
  const double math_s = rows.query * context * score_s;
  const Piece out = roofline(c_, read_s, math_s, Bound::kKv);
  if (trace_ != nullptr) {
    const std::string per_score =
        prefill_ ? fmt::format("({:g}/({:g}*{:.4g}) + {:g}*{:g}/{:.3g})", flops, share, peak,
                               passes, m_.heads, g_.exponentials_per_s)
                 : fmt::format("{:g}/({:g}*{:.4g})", flops, share, peak);
    std::vector<std::string> used{"stream_activations",
                                  prefill_ ? "core_share_prefill" : "core_share_decode"};
    if (prefill_) used.push_back("softmax_passes");
    used.push_back("knee_power");
    note(
        StepTerm::kAttention,
        prefill_ ? "knee(sequences*S*kv / (share*HBM), rows*S * (flops/(core share*peak) + "
                   "x*heads/SFU))"
                 : "knee(sequences*S*kv / (share*HBM), rows*S * flops/(core share*peak))",
        fmt::format("knee({:g}*{:g}*{:g}*{:g} B / ({:g}*{:.4g}) = {:.4g} us, {:g}*{:g} * {} = "
                    "{:.4g} us)",
                    rows.sequences, copies, seen(rows.kv_tokens), layer_kv, c_.stream_activations,
                    g_.hbm_bytes_per_s, read_s * 1e6, rows.query, context, per_score, math_s * 1e6),
        out.s, std::move(used));
  }
  return out;
}

// All ranks wait for the one whose sequences are longest: their sum over a rank's sequences, whose
// relative spread falls with the root of their number, largest of all ranks.
double StepModel::context_skew(double sequences) const {
  const double ranks = group_ / tp_;
  if (prefill_ || ranks <= 1) return 1;
  const double chance = 2 * std::log(ranks) / std::max(sequences * tp_, 1e-9);
  return std::min(1 + sequence_spread() * std::sqrt(chance), ranks);
}

// A sequence is anywhere in its answer: osl/√12 around the mean; lengths differ besides.
double StepModel::sequence_spread() const {
  return std::hypot(s_.osl / std::sqrt(12.0) / std::max(1.0, s_.mean_context()),
                    c_.sequence_spread);
}

// The blocks of one kernel end apart, for a batch holds answers from their first to their last
// token: of what the longest context is longer than the mean, a share is left after splitting.
double StepModel::length_tail() const {
  return prefill_ ? 1 : 1 + c_.length_tail * s_.osl / 2 / std::max(1.0, s_.mean_context());
}

Piece StepModel::attention(const Rows& rows) {
  const double start = fixed_share(g_, c_) * c_.attention_fixed_us * 1e-6;
  const Piece projections =
      gemm(g_, c_, rows.query * tp_, m_.attention_params() / tp_, s_.attention);
  if (trace_ != nullptr) {
    note(StepTerm::kAttention, "g * fixed",
         fmt::format("{:g} * {:g} us", fixed_share(g_, c_), c_.attention_fixed_us), start,
         {share_name(), "attention_fixed_us"});
    note_gemm(StepTerm::kAttention, "projections", rows.query * tp_, m_.attention_params() / tp_,
              s_.attention, projections.s);
  }
  const double width = m_.mla ? (prefill_ ? m_.nope + m_.rope + m_.v_dim : 2 * m_.kv_lora + m_.rope)
                              : 2 * m_.head_dim;
  // Query in, result out, each written and read once in BF16.
  const double traffic = rows.query * m_.heads * width * 2 * 2 / activation_bytes_per_s(g_, c_);
  if (trace_ != nullptr) {
    note(StepTerm::kAttention, "per-head traffic = rows*heads*width * 2 B * 2 / (share*HBM)",
         fmt::format("{:g}*{:g}*{:g} * 4 / ({:g}*{:.4g})", rows.query, m_.heads, width,
                     c_.stream_activations, g_.hbm_bytes_per_s),
         traffic, {"stream_activations"});
  }
  const Piece core = attention_core(rows);
  const double skew = context_skew(rows.sequences), tail = length_tail();
  if (trace_ != nullptr && skew * tail != 1) {
    note(StepTerm::kAttention,
         "contexts differ: (skew*tail - 1) * core, skew = 1 + cv*sqrt(2*ln(ranks) / sequences of "
         "a rank), cv^2 = (osl/sqrt(12) / mean context)^2 + spread^2, tail = 1 + share * "
         "(longest / mean context - 1)",
         fmt::format("skew = 1 + {:g}*sqrt(2*ln({:g}) / {:g}) = {:.4g} (at most {:g}), tail = 1 + "
                     "{:g}*{:g}/2/{:g} = {:.4g}, * {:.4g} us",
                     sequence_spread(), group_ / tp_, rows.sequences * tp_, skew, group_ / tp_,
                     c_.length_tail, s_.osl, s_.mean_context(), tail, core.s * 1e6),
         core.s * (skew * tail - 1), {"sequence_spread", "length_tail"});
  }
  return fixed(start) + projections + core.times(skew * tail) + fixed(traffic, Bound::kKv);
}

Piece StepModel::other(double rows) {
  const double traffic = rows * m_.hidden * 2 * c_.layer_passes / activation_bytes_per_s(g_, c_);
  if (trace_ != nullptr) {
    note(StepTerm::kOther, "fixed + rows*H*2 B * passes / (share*HBM)",
         fmt::format("{:g} us + {:g}*{:g}*2 * {:g} / ({:g}*{:.4g})", c_.layer_fixed_us, rows,
                     m_.hidden, c_.layer_passes, c_.stream_activations, g_.hbm_bytes_per_s),
         c_.layer_fixed_us * 1e-6 + traffic,
         {"layer_fixed_us", "layer_passes", "stream_activations"});
  }
  return fixed(c_.layer_fixed_us * 1e-6) + fixed(traffic, Bound::kKv);
}

double StepModel::expert_spread() const {
  if (s_.balancing == Balancing::kPerfect) return 0;
  const double held = std::ceil(slots_ / ep_ - 1e-9);
  return c_.popularity_sigma * std::sqrt(1 - 1 / std::max(1.0, held));
}

Piece StepModel::expert_products(double read_s, double math_s) const {
  const double spread = expert_spread();
  // Gauss and Hermite's five points: exact to the ninth moment of log load.
  constexpr std::pair<double, double> kPoints[] = {{-2.85697001387281, 0.0112574113277207},
                                                   {-1.35562617997427, 0.222075922005613},
                                                   {0, 0.533333333333333},
                                                   {1.35562617997427, 0.222075922005613},
                                                   {2.85697001387281, 0.0112574113277207}};
  double mean = 0;
  for (const auto& [z, weight] : kPoints) mean += weight * std::exp(spread * z);
  Piece out;
  for (const auto& [z, weight] : kPoints) {
    const double load = std::exp(spread * z) / mean;
    out += roofline(c_, read_s, math_s * load, Bound::kWeights).times(weight);
  }
  return out;
}

Piece StepModel::experts(double rows, double imbalance) {
  const double group = rows * group_, k = m_.top_k;
  const double hit = 1 - std::pow(1 - k / m_.experts, group);
  // An expert may be split over the GPUs of a rank.
  const double held = std::ceil(slots_ / ep_ - 1e-9) * ep_ / group_;
  const double active = held * hit, b = dtype_bytes(s_.experts);
  const double start = fixed_share(g_, c_) * c_.experts_fixed_us * 1e-6;
  const double bytes = active * m_.expert_params() * b;
  const double peak = peak_flops(g_, s_.experts), e = flops_efficiency(g_, c_, peak);
  const double routed = rows * k * imbalance;
  // Products work on whole tiles: the last one of each expert is half empty on average.
  const double tiled = routed + active * c_.tile_rows / 2;
  const double flops = 2 * tiled * m_.expert_params();
  const double read_s = bytes / stream_bytes_per_s(g_, c_), math_s = flops / (e * peak);
  const Piece products = expert_products(read_s, math_s);
  // In and out in BF16 but for the products' inputs: row, gate and up (out, in), gated (out, in),
  // result.
  const double split = group_ / ep_;  // GPUs that hold a part of each expert's width
  const double row_bytes = m_.hidden * (b + 2) + m_.expert_width * (8 + 2 * b) / split;
  const double traffic_s = routed * row_bytes / activation_bytes_per_s(g_, c_);
  if (trace_ != nullptr) {
    note(StepTerm::kExperts,
         "g*fixed + mean over the experts' loads X of knee(A*P_e*b / (stream*HBM), "
         "X*2*(rows*K*f + A*tile/2)*P_e / (e*peak)), A = slots/ep * hit, hit = 1 - (1 - "
         "K/E)^(rows of the group), X log-normal with mean 1",
         fmt::format("{:g}*{:g} us + knee({:g}*{:.4g}*{:g}*{:g} / {:.4g} = {:.4g} us, "
                     "2*({:g}*{:g}*{:.4g} + {:.4g}*{:g}/2)*{:g} / ({:.3g}*{:.4g}) = {:.4g} us) "
                     "with sigma {:.4g} = {:.4g} us",
                     fixed_share(g_, c_), c_.experts_fixed_us, held, hit, m_.expert_params(), b,
                     stream_bytes_per_s(g_, c_), read_s * 1e6, rows, k, imbalance, active,
                     c_.tile_rows, m_.expert_params(), e, peak, math_s * 1e6, expert_spread(),
                     products.s * 1e6),
         start + products.s,
         {share_name(), "experts_fixed_us", stream_name(), "flops_share", "flops_slope",
          "tile_rows", "knee_power", "popularity_sigma"});
    note(StepTerm::kExperts,
         "routed rows in and out = rows*K*f * (H*(b+2) + I*(8+2b)) / (share*HBM)",
         fmt::format("{:g}*{:g}*{:.4g} * {:g} B / ({:g}*{:.4g})", rows, k, imbalance, row_bytes,
                     c_.stream_activations, g_.hbm_bytes_per_s),
         traffic_s, {"stream_activations"});
  }
  return fixed(start) + products + fixed(traffic_s, Bound::kKv);
}

Piece StepModel::shared(double rows) {
  if (m_.shared_width <= 0) return {};
  const Piece out = gemm(g_, c_, rows * tp_, m_.shared_params() / tp_, s_.attention);
  if (trace_ != nullptr) {
    note_gemm(StepTerm::kShared, "shared experts", rows * tp_, m_.shared_params() / tp_,
              s_.attention, out.s);
  }
  return out;
}

}  // namespace wingspan::plan_detail
