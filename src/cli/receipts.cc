#include "cli/receipts.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>

#include "kernels/numerics.h"
#include "model/digest.h"

namespace wingspan {
namespace {

constexpr const char* kFormat = "wingspan-receipt";

std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }

Expected<uint64_t> from_hex(const JsonObject& object, const char* key) {
  WS_ASSIGN(const std::string text, object.string(key));
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error == std::errc() && end == text.data() + text.size()) return value;
  return object.bad(key, "is not a hexadecimal number");
}

Expected<std::vector<int32_t>> ids_of(const JsonObject& object, const char* key) {
  WS_ASSIGN(const auto numbers, object.integers(key, 0, INT32_MAX));
  return std::vector<int32_t>(numbers.begin(), numbers.end());
}

Expected<SamplingParams> sampling_of(const JsonObject& o) {
  SamplingParams s;
  WS_ASSIGN(s.temperature, o.number("temperature", 0, 1e6));
  WS_ASSIGN(s.top_k, o.integer("top_k", 0, INT64_MAX));
  WS_ASSIGN(s.top_p, o.number("top_p", 0, 1));
  WS_ASSIGN(s.min_p, o.number("min_p", 0, 1));
  WS_ASSIGN(s.presence_penalty, o.number("presence_penalty", -2, 2));
  WS_ASSIGN(s.frequency_penalty, o.number("frequency_penalty", -2, 2));
  WS_ASSIGN(s.repetition_penalty, o.number("repetition_penalty", 0, 1e6));
  WS_ASSIGN(s.min_tokens, o.integer("min_tokens", 0, INT64_MAX));
  WS_ASSIGN(s.seed, from_hex(o, "seed"));
  const Json& bias = o.json().value("logit_bias", Json::array());
  if (!bias.is_array()) return o.bad("logit_bias", "must be a list of [id, bias]");
  for (const Json& pair : bias) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer() ||
        !pair[1].is_number()) {
      return o.bad("logit_bias", "must be a list of [id, bias]");
    }
    s.logit_bias.emplace_back(pair[0].get<int32_t>(), pair[1].get<float>());
  }
  return s;
}

}  // namespace

ReceiptProfile receipt_profile(const SessionSetup& setup) {
  return {setup.options.model, model_digest(setup.config, *setup.source),
          compute_mode_name(setup.compute), kNumericContractVersion};
}

OrderedJson receipt_to_json(const Receipt& r) {
  const SamplingParams& s = r.request.sampling;
  OrderedJson bias = OrderedJson::array();
  for (const auto& [id, value] : s.logit_bias) {
    bias.push_back({id, static_cast<double>(value)});
  }
  OrderedJson logprobs = OrderedJson::array();
  for (const float p : r.result.logprobs) logprobs.push_back(static_cast<double>(p));
  return {{"format", kFormat},
          {"version", 1},
          {"id", r.id},
          {"model", r.profile.model},
          {"model_digest", hex(r.profile.digest)},
          {"profile", {{"compute", r.profile.compute}, {"contract", r.profile.contract}}},
          {"prompt_ids", r.request.prompt},
          {"max_tokens", r.request.max_tokens},
          {"stop_ids", r.request.stop_ids},
          {"sampling",
           {{"temperature", s.temperature},
            {"top_k", s.top_k},
            {"top_p", s.top_p},
            {"min_p", s.min_p},
            {"presence_penalty", s.presence_penalty},
            {"frequency_penalty", s.frequency_penalty},
            {"repetition_penalty", s.repetition_penalty},
            {"min_tokens", s.min_tokens},
            {"seed", hex(s.seed)},
            {"logit_bias", bias}}},
          {"output_ids", r.result.output_ids},
          {"logprobs", logprobs},
          {"logits_hash", hex(r.result.logits_hash)}};
}

Expected<Receipt> receipt_from_json(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject o, JsonObject::from(json, where));
  WS_ASSIGN(const std::string format, o.string("format"));
  if (format != kFormat) return o.bad("format", fmt::format("is not \"{}\"", kFormat));
  WS_ASSIGN(const int64_t version, o.integer("version", 0, INT32_MAX));
  if (version != 1) return o.bad("version", fmt::format("{} is not known here, 1 is", version));
  Receipt r;
  WS_ASSIGN(r.id, o.string_or("id", ""));
  WS_ASSIGN(r.profile.model, o.string("model"));
  WS_ASSIGN(r.profile.digest, from_hex(o, "model_digest"));
  WS_ASSIGN(const JsonObject profile, o.object("profile"));
  WS_ASSIGN(r.profile.compute, profile.string("compute"));
  WS_ASSIGN(const int64_t contract, profile.integer("contract", 0, INT32_MAX));
  r.profile.contract = static_cast<int>(contract);
  WS_ASSIGN(r.request.prompt, ids_of(o, "prompt_ids"));
  WS_ASSIGN(r.request.max_tokens, o.integer("max_tokens", 0, INT32_MAX));
  WS_ASSIGN(r.request.stop_ids, ids_of(o, "stop_ids"));
  WS_ASSIGN(const JsonObject sampling, o.object("sampling"));
  WS_ASSIGN(r.request.sampling, sampling_of(sampling));
  r.request.hash_logits = true;
  WS_ASSIGN(r.result.output_ids, ids_of(o, "output_ids"));
  WS_ASSIGN(r.result.logits_hash, from_hex(o, "logits_hash"));
  const Json& logprobs = o.json().value("logprobs", Json::array());
  for (const Json& p : logprobs) {
    if (!p.is_number()) return o.bad("logprobs", "must be numbers");
    r.result.logprobs.push_back(p.get<float>());
  }
  return r;
}

}  // namespace wingspan
