#include "plan/scenario.h"

#include <fmt/format.h>

#include <cmath>

namespace wingspan {
namespace {

constexpr const char* kKeys[] = {"phase",
                                 "gpus",
                                 "ep",
                                 "attention_dp",
                                 "attention_tp",
                                 "slots",
                                 "isl",
                                 "osl",
                                 "concurrency",
                                 "batch_per_gpu",
                                 "tokens_per_gpu",
                                 "cached_fraction",
                                 "dtype",
                                 "mtp",
                                 "overlap",
                                 "eplb",
                                 "imbalance",
                                 "prefill_gpus",
                                 "decode_gpus",
                                 "prefill_ep",
                                 "prefill_wait_steps"};
constexpr double kMostGpus = 100'000, kMostTokens = 1e7, kMostBatch = 1e6;

using Words = std::vector<std::string>;

void say(Words* words, std::string text) {
  if (words != nullptr) words->push_back(std::move(text));
}

template <class T, size_t n>
Expected<T> choice(const std::string& text, const std::string& key, const std::string& where,
                   const T (&values)[n]) {
  std::string all;
  for (const T value : values) {
    if (text == name_of(value)) return value;
    all += (all.empty() ? "" : ", ") + std::string(name_of(value));
  }
  return invalid_input("\"" + key + "\" is \"" + text + "\"", where, "use one of: " + all);
}

constexpr PlanDType kDTypes[] = {PlanDType::kBf16, PlanDType::kFp8, PlanDType::kNvfp4,
                                 PlanDType::kMxfp4, PlanDType::kInt8};

Status only_keys(const Json& json, const std::vector<std::string>& keys, const std::string& where) {
  for (const auto& [key, value] : json.items()) {
    bool known = false;
    for (const std::string& k : keys) known = known || k == key;
    if (!known) return invalid_input("unknown key \"" + key + "\"", where);
  }
  return {};
}

Expected<double> whole_or(const JsonObject& o, const std::string& key, double low, double high,
                          double fallback) {
  WS_ASSIGN(const int64_t value,
            o.integer_or(key, static_cast<int64_t>(low), static_cast<int64_t>(high),
                         static_cast<int64_t>(fallback)));
  return static_cast<double>(value);
}

Status read_dtypes(const JsonObject& o, PlanScenario& s) {
  WS_ASSIGN(const JsonObject d, o.object("dtype"));
  WS_RETURN_IF_ERROR(
      only_keys(d.json(), {"experts", "attention", "kv", "dispatch", "combine", "attention_math"},
                d.where()));
  const std::pair<const char*, PlanDType PlanScenario::*> members[] = {
      {"experts", &PlanScenario::experts},
      {"attention", &PlanScenario::attention},
      {"kv", &PlanScenario::kv},
      {"dispatch", &PlanScenario::dispatch},
      {"combine", &PlanScenario::combine}};
  for (const auto& [key, member] : members) {
    WS_ASSIGN(const std::string text, d.string(key));
    WS_ASSIGN(s.*member, choice(text, key, d.where(), kDTypes));
  }
  if (d.has("attention_math")) {
    WS_ASSIGN(const std::string text, d.string("attention_math"));
    WS_ASSIGN(s.attention_math, choice(text, "attention_math", d.where(), kDTypes));
  }
  return {};
}

Status read_mtp(const JsonObject& o, const PlanModel& model, PlanScenario& s, Words* words) {
  if (!o.has("mtp")) {
    say(words, "no MTP: one token per step");
    return {};
  }
  WS_ASSIGN(const JsonObject m, o.object("mtp"));
  WS_RETURN_IF_ERROR(only_keys(m.json(), {"k", "accepted_per_step"}, m.where()));
  WS_ASSIGN(s.mtp_k, whole_or(m, "k", 0, 16, -1));
  if (!m.has("k")) return invalid_input("\"k\" is missing", m.where());
  WS_ASSIGN(s.accepted_per_step, m.number("accepted_per_step", 1, s.mtp_k + 1));
  if (s.mtp_k > 0 && model.mtp_layers < 1) {
    say(words, "the model has no MTP layer: drafts are costed as if one of its layers made them");
  }
  return {};
}

Status read_balancing(const JsonObject& o, PlanScenario& s, Words* words) {
  if (o.has("eplb") && o.has("imbalance")) {
    return invalid_input("\"eplb\" and \"imbalance\" exclude each other", o.where());
  }
  if (o.has("imbalance")) {
    WS_ASSIGN(s.imbalance, o.number("imbalance", 1, kMostGpus));
    s.balancing = Balancing::kGiven;
    return {};
  }
  if (!o.has("eplb")) {
    say(words, "eplb = static: experts are placed by a plan from statistics of this traffic");
    return {};
  }
  // "eplb" may be the number itself.
  if (o.json()["eplb"].is_number()) {
    WS_ASSIGN(s.imbalance, o.number("eplb", 1, kMostGpus));
    s.balancing = Balancing::kGiven;
    return {};
  }
  WS_ASSIGN(const std::string text, o.string("eplb"));
  constexpr Balancing kModes[] = {Balancing::kNone, Balancing::kUntuned, Balancing::kStatic,
                                  Balancing::kOnline, Balancing::kPerfect};
  WS_ASSIGN(s.balancing, choice(text, "eplb", o.where(), kModes));
  return {};
}

Status read_gpus(const JsonObject& o, PlanScenario& s, Words* words) {
  WS_ASSIGN(s.ep, whole_or(o, "ep", 1, kMostGpus, 1));
  if (!o.has("ep")) return invalid_input("\"ep\" is missing", o.where());
  if (s.phase != Phase::kDisaggregated) {
    WS_ASSIGN(const int64_t gpus, o.integer("gpus", 1, static_cast<int64_t>(kMostGpus)));
    s.gpus = static_cast<double>(gpus);
    for (const char* key : {"prefill_gpus", "decode_gpus", "prefill_ep", "concurrency"}) {
      if (o.has(key)) return o.bad(key, "belongs to phase \"disaggregated\"");
    }
    return {};
  }
  WS_ASSIGN(const int64_t prefill, o.integer("prefill_gpus", 1, static_cast<int64_t>(kMostGpus)));
  WS_ASSIGN(const int64_t decode, o.integer("decode_gpus", 1, static_cast<int64_t>(kMostGpus)));
  s.prefill_gpus = static_cast<double>(prefill);
  s.decode_gpus = static_cast<double>(decode);
  WS_ASSIGN(s.gpus, whole_or(o, "gpus", 1, 2 * kMostGpus, s.prefill_gpus + s.decode_gpus));
  WS_ASSIGN(s.prefill_ep, whole_or(o, "prefill_ep", 1, kMostGpus, 0));
  if (s.prefill_ep < 1) {
    s.prefill_ep = std::min(s.ep, s.prefill_gpus);
    say(words,
        fmt::format("prefill_ep = {:g}: as wide as decode, within the prefill GPUs", s.prefill_ep));
  }
  if (o.has("concurrency")) {
    WS_ASSIGN(s.concurrency, o.number("concurrency", 1e-3, 1e8));
    if (o.has("batch_per_gpu")) {
      return invalid_input("\"concurrency\" and \"batch_per_gpu\" exclude each other", o.where());
    }
  }
  return {};
}

Status read_attention_widths(const JsonObject& o, PlanScenario& s, Words* words) {
  WS_ASSIGN(s.attention_tp, whole_or(o, "attention_tp", 1, kMostGpus, 0));
  WS_ASSIGN(s.attention_dp, whole_or(o, "attention_dp", 1, kMostGpus, 0));
  if (s.attention_tp < 1) {
    s.attention_tp = 1;
    if (s.attention_dp >= 1 && s.attention_dp < s.ep) {
      s.attention_tp = std::floor(s.ep / s.attention_dp);
    }
    say(words, fmt::format("attention_tp = {:g}", s.attention_tp));
  }
  if (s.attention_dp < 1) {
    s.attention_dp = std::max(1.0, std::floor(s.ep / s.attention_tp));
    say(words, fmt::format("attention_dp = {:g}: attention data-parallel over the decode group",
                           s.attention_dp));
  }
  return {};
}

Status read_lengths(const JsonObject& o, PlanScenario& s, Words* words) {
  WS_ASSIGN(s.isl, o.number("isl", 0, kMostTokens));
  WS_ASSIGN(s.osl, o.number("osl", 0, kMostTokens));
  WS_ASSIGN(s.cached_fraction, o.number_or("cached_fraction", 0, 1, 0));
  if (!o.has("cached_fraction")) say(words, "cached_fraction = 0: every prompt token is computed");
  WS_ASSIGN(s.tokens_per_gpu, o.number_or("tokens_per_gpu", 1, kMostTokens, 16384));
  if (!o.has("tokens_per_gpu") && s.phase != Phase::kDecode) {
    say(words, "tokens_per_gpu = 16384 in a prefill pass");
  }
  if (o.has("batch_per_gpu")) {
    WS_ASSIGN(s.batch_per_gpu, o.number("batch_per_gpu", 1e-6, kMostBatch));
  }
  WS_ASSIGN(s.prefill_wait_steps, o.number_or("prefill_wait_steps", 1, 1e6, 1));
  if (!o.has("prefill_wait_steps") && s.phase == Phase::kAggregated) {
    say(words, "prefill_wait_steps = 1: prompts are computed in the step they arrive in");
  }
  return {};
}

}  // namespace

double dtype_bytes(PlanDType dtype) {
  switch (dtype) {
    case PlanDType::kBf16:
      return 2;
    case PlanDType::kNvfp4:
      return 0.5625;
    case PlanDType::kMxfp4:
      return 0.53125;
    default:
      return 1;
  }
}

double exchange_bytes(PlanDType dtype) {
  const double bytes = dtype_bytes(dtype);
  return bytes == 1 ? 1 + 4.0 / 128 : bytes;  // one float scale per 128 elements of 8 bits
}

const char* name_of(Phase phase) {
  constexpr const char* kNames[] = {"decode", "prefill", "aggregated", "disaggregated"};
  return kNames[static_cast<size_t>(phase)];
}

const char* name_of(PlanDType dtype) {
  constexpr const char* kNames[] = {"bf16", "fp8", "nvfp4", "mxfp4", "int8"};
  return kNames[static_cast<size_t>(dtype)];
}

const char* name_of(PlanOverlap overlap) {
  constexpr const char* kNames[] = {"none", "single_batch", "two_batch"};
  return kNames[static_cast<size_t>(overlap)];
}

const char* name_of(Balancing balancing) {
  constexpr const char* kNames[] = {"none", "untuned", "static", "online", "perfect", "given"};
  return kNames[static_cast<size_t>(balancing)];
}

Status validate_scenario(const PlanScenario& s, const PlanModel& model, const std::string& where) {
  const bool split = s.phase == Phase::kDisaggregated;
  const double own = split ? s.decode_gpus : s.gpus;
  if (s.ep > own) {
    return invalid_input(
        fmt::format("ep {:g} is larger than the {:g} {}GPUs", s.ep, own, split ? "decode " : ""),
        where);
  }
  if (split && s.prefill_ep > s.prefill_gpus) {
    return invalid_input(fmt::format("prefill_ep {:g} is larger than the {:g} prefill GPUs",
                                     s.prefill_ep, s.prefill_gpus),
                         where);
  }
  if (split && s.prefill_gpus + s.decode_gpus > s.gpus) {
    return invalid_input("prefill_gpus and decode_gpus together exceed gpus", where);
  }
  if (s.attention_dp * s.attention_tp < s.ep || std::fmod(s.group(), s.ep) != 0) {
    return invalid_input(fmt::format("attention_dp {:g} times attention_tp {:g} is no multiple of "
                                     "ep {:g}",
                                     s.attention_dp, s.attention_tp, s.ep),
                         where);
  }
  if (s.group() > own) {
    return invalid_input(fmt::format("attention_dp {:g} times attention_tp {:g} is more than the "
                                     "{:g} GPUs",
                                     s.attention_dp, s.attention_tp, own),
                         where);
  }
  if (model.experts > 0 && s.slots < model.experts) {
    return invalid_input(fmt::format("{:g} slots for {:g} experts", s.slots, model.experts), where,
                         "every expert needs a slot");
  }
  if (model.experts > 0 && s.slots > model.experts * s.ep) {
    return invalid_input(fmt::format("{:g} slots: a rank would hold an expert twice", s.slots),
                         where,
                         fmt::format("at most experts times ep = {:g}", model.experts * s.ep));
  }
  if (s.isl + s.osl <= 0) return invalid_input("isl and osl are both 0", where);
  if (s.phase != Phase::kPrefill && s.osl <= 0) return invalid_input("osl must be > 0", where);
  if (s.phase != Phase::kDecode && s.isl <= 0) return invalid_input("isl must be > 0", where);
  return {};
}

Expected<PlanScenario> parse_scenario(const Json& json, const std::string& where,
                                      const PlanModel& model, Words* words) {
  WS_ASSIGN(const JsonObject o, JsonObject::from(json, where));
  WS_RETURN_IF_ERROR(only_keys(json, {std::begin(kKeys), std::end(kKeys)}, where));
  PlanScenario s;
  WS_ASSIGN(const std::string phase, o.string("phase"));
  constexpr Phase kPhases[] = {Phase::kDecode, Phase::kPrefill, Phase::kAggregated,
                               Phase::kDisaggregated};
  WS_ASSIGN(s.phase, choice(phase, "phase", where, kPhases));
  WS_RETURN_IF_ERROR(read_gpus(o, s, words));
  WS_RETURN_IF_ERROR(read_attention_widths(o, s, words));
  WS_ASSIGN(s.slots, whole_or(o, "slots", 0, 1e8, 0));
  if (!o.has("slots")) {
    s.slots = model.experts;
    if (model.experts > 0) say(words, fmt::format("slots = {:g}: no redundancy", s.slots));
  }
  WS_RETURN_IF_ERROR(read_lengths(o, s, words));
  WS_RETURN_IF_ERROR(read_dtypes(o, s));
  WS_RETURN_IF_ERROR(read_mtp(o, model, s, words));
  if (o.has("overlap")) {
    WS_ASSIGN(const std::string text, o.string("overlap"));
    constexpr PlanOverlap kModes[] = {PlanOverlap::kNone, PlanOverlap::kSingleBatch,
                                      PlanOverlap::kTwoBatch};
    WS_ASSIGN(s.overlap, choice(text, "overlap", where, kModes));
  } else {
    say(words, "overlap = none: exchange and compute take turns");
  }
  WS_RETURN_IF_ERROR(read_balancing(o, s, words));
  WS_RETURN_IF_ERROR(validate_scenario(s, model, where));
  return s;
}

OrderedJson json_of_scenario(const PlanScenario& s) {
  OrderedJson out;
  out["phase"] = name_of(s.phase);
  const auto whole = [](double x) { return static_cast<int64_t>(std::llround(x)); };
  out["gpus"] = whole(s.gpus);
  if (s.phase == Phase::kDisaggregated) {
    out["prefill_gpus"] = whole(s.prefill_gpus);
    out["decode_gpus"] = whole(s.decode_gpus);
    out["prefill_ep"] = whole(s.prefill_ep);
    if (s.concurrency) out["concurrency"] = *s.concurrency;
  }
  out["ep"] = whole(s.ep);
  out["attention_dp"] = whole(s.attention_dp);
  out["attention_tp"] = whole(s.attention_tp);
  out["slots"] = whole(s.slots);
  if (s.batch_per_gpu) out["batch_per_gpu"] = *s.batch_per_gpu;
  out["tokens_per_gpu"] = s.tokens_per_gpu;
  out["isl"] = s.isl;
  out["osl"] = s.osl;
  out["cached_fraction"] = s.cached_fraction;
  out["dtype"] = {{"experts", name_of(s.experts)},
                  {"attention", name_of(s.attention)},
                  {"kv", name_of(s.kv)},
                  {"dispatch", name_of(s.dispatch)},
                  {"combine", name_of(s.combine)}};
  if (s.attention_math) out["dtype"]["attention_math"] = name_of(*s.attention_math);
  if (s.mtp_k > 0) out["mtp"] = {{"k", whole(s.mtp_k)}, {"accepted_per_step", s.accepted_per_step}};
  out["overlap"] = name_of(s.overlap);
  if (s.balancing == Balancing::kGiven) {
    out["imbalance"] = s.imbalance;
  } else {
    out["eplb"] = name_of(s.balancing);
  }
  if (s.phase == Phase::kAggregated) out["prefill_wait_steps"] = s.prefill_wait_steps;
  return out;
}

}  // namespace wingspan
