#include "plan/advice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "plan/candidate_json.h"

namespace wingspan {
namespace {

std::string commas(double value) {
  std::string digits = fmt::format("{:.0f}", value);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

double percent(double now, double before) { return before > 0 ? (now / before - 1) * 100 : 0; }

std::string group_name(const Candidate& c) {
  if (c.decode.ep == 1) return "one GPU by itself";
  if (c.decode.attention_tp == 1) return fmt::format("EP{}", c.decode.ep);
  return fmt::format("EP{} with attention TP{}", c.decode.ep, c.decode.attention_tp);
}

struct Parts {
  double experts = 0, exchange = 0, rest = 0;
  double sum() const { return experts + exchange + rest; }
};

Parts parts_of(const ServingModel& model, const Candidate& c) {
  Parts p;
  for (const StepPart& part : model.parts(c.decode, c.batch_per_gpu)) {
    const bool exchange = part.name == "dispatch" || part.name == "combine";
    (part.name == "experts" ? p.experts : exchange ? p.exchange : p.rest) += part.ms;
  }
  return p;
}

// Figure by which candidates are compared, as text.
std::string figure(const SearchLimits& limits, const Candidate& c) {
  if (limits.rate_rps) return fmt::format("{} GPUs", c.gpus);
  return commas(c.tokens_per_s_per_gpu) + " output tokens/s/GPU";
}

std::string limit_text(const SearchLimits& limits) {
  return fmt::format("p{:g} of TTFT {:.0f} ms and ITL {:g} ms", limits.percentile, limits.ttft_ms,
                     limits.itl_ms);
}

const Candidate* best_where(const SearchLimits& limits, const std::vector<Candidate>& all,
                            bool wide) {
  const Candidate* best = nullptr;
  for (const Candidate& c : all) {
    if ((c.decode.ep > kWideEp) != wide) continue;
    if (best == nullptr || better(limits, c, *best)) best = &c;
  }
  return best;
}

std::string difference(const ServingModel& model, const Candidate& a, const Candidate& b) {
  const Parts x = parts_of(model, a), y = parts_of(model, b);
  return fmt::format(
      "of a step of {:.2f} ms the experts take {:.2f} ms and the exchange {:.2f} ms at "
      "{:.3g} sequences/GPU, with {} it is {:.2f}, {:.2f} and {:.2f} ms at {:.3g}",
      x.sum(), x.experts, x.exchange, a.batch_per_gpu, group_name(b), y.sum(), y.experts,
      y.exchange, b.batch_per_gpu);
}

Sensitivity relaxed(const ServingModel& model, const SearchSpace& space, const SearchLimits& limits,
                    std::shared_ptr<const FrontierReport> groups, const Candidate& recommended,
                    std::string change) {
  Sensitivity s;
  s.change = std::move(change);
  const SearchResult found = search(model, space, limits, std::move(groups));
  if (found.ranked.empty()) {
    s.text = s.change + ": nothing holds";
    return s;
  }
  const Candidate& best = found.ranked.front();
  s.tokens_per_s_per_gpu = best.tokens_per_s_per_gpu;
  s.effect_percent = percent(best.tokens_per_s_per_gpu, recommended.tokens_per_s_per_gpu);
  s.text =
      fmt::format("{}: {} at {:.0f} tokens/s/user ({:+.0f} %), {}", s.change, figure(limits, best),
                  best.tokens_per_s_per_user, s.effect_percent, describe(best));
  return s;
}

}  // namespace

std::string describe(const Candidate& c) {
  std::string text = fmt::format("EP{} x {}, {} slots, {:.3g} sequences/GPU", c.decode.ep,
                                 c.decode_instances, c.decode.slots, c.batch_per_gpu);
  if (c.decode.attention_tp > 1) text += fmt::format(", attention TP{}", c.decode.attention_tp);
  if (c.decode.mtp_depth > 0) text += fmt::format(", MTP {}", c.decode.mtp_depth);
  text += c.aggregated ? ", aggregated"
                       : fmt::format(", prefill EP{} x {}", c.prefill.ep, c.prefill_instances);
  if (c.idle_gpus > 0) text += fmt::format(", {} idle", c.idle_gpus);
  return text;
}

std::string reason(const ServingModel& model, const SearchLimits& limits,
                   const Candidate& recommended, const std::vector<Candidate>& by_width) {
  const Candidate* other = best_where(limits, by_width, recommended.decode.ep <= kWideEp);
  std::string text = fmt::format(
      "{} gives {} over all {} GPUs at {:.0f} tokens/s/user within {}", describe(recommended),
      limits.rate_rps ? fmt::format("{:.3g} requests/s", recommended.requests_per_s)
                      : figure(limits, recommended),
      recommended.gpus, recommended.tokens_per_s_per_user, limit_text(limits));
  if (other == nullptr) {
    return text + fmt::format("; no {} group holds that. The step is bound by {}.",
                              recommended.decode.ep <= kWideEp ? "wider" : "narrower",
                              recommended.bound_by);
  }
  return text + fmt::format("; the best with {} gives {}. The difference: {}.", group_name(*other),
                            figure(limits, *other), difference(model, recommended, *other));
}

std::string why_not(const SearchLimits& limits, const Candidate& recommended,
                    const Candidate& runner_up) {
  const double less = percent(runner_up.tokens_per_s_per_gpu, recommended.tokens_per_s_per_gpu);
  return fmt::format("{} gives {} at {:.0f} tokens/s/user ({:+.1f} % output tokens/s/GPU){}.",
                     describe(runner_up), figure(limits, runner_up),
                     runner_up.tokens_per_s_per_user, less,
                     runner_up.idle_gpus > recommended.idle_gpus
                         ? fmt::format(", with {} GPUs idle", runner_up.idle_gpus)
                         : std::string());
}

Sensitivity wide_ep_advice(const ServingModel& model, const SearchLimits& limits, int experts,
                           int scaleup_domain, const std::vector<Candidate>& by_width) {
  const Candidate* narrow = best_where(limits, by_width, false);
  const Candidate* wide = best_where(limits, by_width, true);
  Sensitivity s;
  s.change = "wide EP";
  if (wide == nullptr && narrow == nullptr) return s;
  if (wide == nullptr) {
    s.tokens_per_s_per_gpu = narrow->tokens_per_s_per_gpu;
    s.text =
        limits.gpus <= kWideEp
            ? fmt::format("Wide-EP is no question on {} GPUs: a single server.", limits.gpus)
            : fmt::format("Wide-EP does not pay: no group beyond EP{} holds the limits.", kWideEp);
    return s;
  }
  s.tokens_per_s_per_gpu = wide->tokens_per_s_per_gpu;
  if (narrow == nullptr) {
    s.text = fmt::format("Wide-EP is needed: no group up to EP{} holds the limits or fits memory.",
                         kWideEp);
    return s;
  }
  s.effect_percent = percent(wide->tokens_per_s_per_gpu, narrow->tokens_per_s_per_gpu);
  const bool pays = limits.rate_rps ? wide->gpus < narrow->gpus : s.effect_percent > 3;
  s.text = fmt::format("Wide-EP {}: {} gives {}, {} gives {} ({:+.0f} % output tokens/s/GPU); {}",
                       pays ? "pays" : "does not pay", group_name(*wide), figure(limits, *wide),
                       group_name(*narrow), figure(limits, *narrow), s.effect_percent,
                       difference(model, *wide, *narrow));
  if (pays) return s;
  const Parts p = parts_of(model, *narrow);
  if (experts <= 16) s.text += fmt::format("; there are only {} experts to spread", experts);
  if (wide->decode.ep > scaleup_domain) {
    s.text += fmt::format("; beyond {} GPUs the exchange leaves the fast links", scaleup_domain);
  }
  if (p.experts < 0.25 * p.sum()) {
    s.text +=
        fmt::format("; experts are only {:.0f} % of the narrow step, so there is little to win",
                    100 * p.experts / p.sum());
  }
  const double live = wide->batch_per_gpu * wide->decode.ep;
  if (live < 50) s.text += fmt::format("; only {:.3g} sequences share a group's weights", live);
  return s;
}

std::vector<Sensitivity> limit_costs(const ServingModel& model, const SearchSpace& space,
                                     const SearchLimits& limits, const SearchResult& found,
                                     const Candidate& recommended) {
  SearchLimits itl = limits, ttft = limits;
  itl.itl_ms *= 2;
  ttft.ttft_ms *= 2;
  return {relaxed(model, space, itl, nullptr, recommended,
                  fmt::format("itl_ms {:g} -> {:g}", limits.itl_ms, itl.itl_ms)),
          relaxed(model, space, ttft, found.groups, recommended,
                  fmt::format("ttft_ms {:g} -> {:g}", limits.ttft_ms, ttft.ttft_ms))};
}

}  // namespace wingspan
