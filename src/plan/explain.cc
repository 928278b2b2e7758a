#include "plan/explain.h"

#include <fmt/format.h>

#include <algorithm>

namespace wingspan {
namespace {

// Parts and figures of one prediction, in words.
class Figures {
 public:
  Figures(const PlanModel& m, const PlanGpu& g, const PlanScenario& s, const PlanConstants& c,
          const Prediction& p)
      : m_(m), g_(g), s_(s), c_(c), p_(p) {}

  std::vector<FigureLine> all() {
    speed();
    memory();
    cost();
    return std::move(out_);
  }

 private:
  void add(std::string figure, std::string formula, std::string numbers, std::string value) {
    out_.push_back({std::move(figure), std::move(formula), std::move(numbers), std::move(value)});
  }

  std::string busy() const {
    return p_.idle_gpus > 0 ? fmt::format(" * {:g}/{:g} GPUs", s_.gpus - p_.idle_gpus, s_.gpus)
                            : "";
  }

  void speed() {
    const std::string tokens = fmt::format("{:.5g}", p_.tokens_per_s_per_gpu);
    if (s_.phase == Phase::kPrefill) {
      add("tokens_per_s_per_gpu", "tokens_per_gpu / pass",
          fmt::format("{:g} / {:.5g} ms", s_.tokens_per_gpu, p_.step.step_ms) + busy(), tokens);
      return;
    }
    add("itl_ms", "step / accepted per step",
        fmt::format("{:.5g} ms / {:g}", p_.step.step_ms, s_.accepted_per_step),
        fmt::format("{:.5g}", p_.itl_ms));
    if (s_.phase == Phase::kDisaggregated) {
      disaggregated(tokens);
      return;
    }
    add("tokens_per_s_per_gpu", "batch / itl",
        fmt::format("{:.6g} / {:.5g} ms", p_.batch_per_gpu, p_.itl_ms) + busy(), tokens);
    if (s_.phase == Phase::kAggregated) {
      add("total_tokens_per_s_per_gpu", "output * (1 + isl/osl)",
          fmt::format("{} * (1 + {:g}/{:g})", tokens, s_.isl, s_.osl),
          fmt::format("{:.5g}", p_.total_tokens_per_s_per_gpu));
    }
  }

  void disaggregated(const std::string& tokens) {
    const double fresh = s_.isl * (1 - s_.cached_fraction);
    add("prefill capacity", "prefill GPUs * rate / (isl * (1 - cached))",
        fmt::format("{:g} * {:.6g} / {:g}", s_.prefill_gpus, p_.prefill_tokens_per_s_per_gpu,
                    fresh),
        fmt::format("{:.5g} requests/s, {:.1f} % in use",
                    p_.requests_per_s / std::max(1e-12, p_.prefill_utilisation),
                    100 * p_.prefill_utilisation));
    add("requests_per_s", "min(prefill capacity, decode GPUs * batch / (itl * osl))",
        fmt::format("{:g} * {:.5g} / ({:.5g} ms * {:g})", s_.decode_gpus, p_.batch_per_gpu,
                    p_.itl_ms, s_.osl),
        fmt::format("{:.5g}", p_.requests_per_s));
    if (s_.concurrency) {
      add("batch_per_gpu", "solves X * (ttft + osl*itl) = concurrency",
          fmt::format("{:.5g} * ({:.5g} ms + {:g}*{:.5g} ms) = {:g}", p_.requests_per_s, p_.ttft_ms,
                      s_.osl, p_.itl_ms, *s_.concurrency),
          fmt::format("{:.5g}", p_.batch_per_gpu));
    }
    add("tokens_per_s_per_gpu", "X * osl / gpus",
        fmt::format("{:.5g} * {:g} / {:g}", p_.requests_per_s, s_.osl, s_.gpus), tokens);
    add("total_tokens_per_s_per_gpu", "X * (isl + osl) / gpus",
        fmt::format("{:.5g} * ({:g} + {:g}) / {:g}", p_.requests_per_s, s_.isl, s_.osl, s_.gpus),
        fmt::format("{:.5g}", p_.total_tokens_per_s_per_gpu));
  }

  void memory() {
    const PlanMemory& m = p_.memory;
    const auto gb = [](double bytes) { return fmt::format("{:.4g} GB", bytes / 1e9); };
    add("memory.kv_bytes_free", "share * HBM - experts - attention - other - buffers",
        fmt::format("{:g} * {} - {} - {} - {} - {}", c_.memory_share, gb(g_.hbm_bytes),
                    gb(m.experts_bytes), gb(m.attention_bytes), gb(m.other_weights_bytes),
                    gb(m.buffers_bytes)),
        gb(m.kv_bytes_free));
    add("memory.kv_bytes_per_token", "layers * elements * bytes",
        fmt::format("{:g} * {:g} * {:g}", m_.layers, m_.kv_elements(), dtype_bytes(s_.kv)),
        fmt::format("{:g} B", m.kv_bytes_per_token));
    if (s_.phase == Phase::kPrefill) return;
    add("memory.max_batch_per_gpu", "free / bytes of a sequence of isl + osl tokens",
        fmt::format("{} / {}", gb(m.kv_bytes_free),
                    gb(m.kv_bytes_free / std::max(1e-12, m.max_batch_per_gpu))),
        fmt::format("{:.5g}", m.max_batch_per_gpu));
  }

  void cost() {
    if (p_.usd_per_million_output_tokens <= 0) return;
    add("usd_per_million_output_tokens", "$/GPU-hour / (0.0036 * tokens/s/GPU)",
        fmt::format("{:g} / (0.0036 * {:.5g})", g_.usd_hour, p_.tokens_per_s_per_gpu),
        fmt::format("{:.4g}", p_.usd_per_million_output_tokens));
  }

  const PlanModel& m_;
  const PlanGpu& g_;
  const PlanScenario& s_;
  const PlanConstants& c_;
  const Prediction& p_;
  std::vector<FigureLine> out_;
};

}  // namespace

Expected<Explanation> explain(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                              const PlanConstants& constants) {
  Explanation out;
  Trace trace;
  WS_ASSIGN(out.prediction, predict(model, gpu, s, constants, &trace));
  for (size_t i = 0; i < kStepTerms; ++i) {
    const double ms = out.prediction.step.ms[i];
    if (ms == 0) continue;
    ExplainedPart part{static_cast<StepTerm>(i), ms, {}};
    for (const TraceLine& line : trace) {
      if (line.term == part.term) part.lines.push_back(line);
    }
    out.parts.push_back(std::move(part));
  }
  std::stable_sort(out.parts.begin(), out.parts.end(),
                   [](const auto& a, const auto& b) { return a.ms > b.ms; });
  out.figures = Figures(model, gpu, s, constants, out.prediction).all();
  out.what_if = what_if(model, gpu, s, constants, out.prediction);
  return out;
}

}  // namespace wingspan
