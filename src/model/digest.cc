#include "model/digest.h"

#include <bit>

#include "base/hash.h"

namespace wingspan {
namespace {

class Digest {
 public:
  template <class... T>
  void add(const T&... values) {
    (one(values), ...);
  }
  uint64_t value() const { return hash_; }

 private:
  void one(const std::string& text) {
    one(text.size());
    for (const char c : text) one(c);
  }
  void one(double v) { hash_ = hash_mix(hash_, std::bit_cast<uint64_t>(v)); }
  void one(float v) { one(static_cast<double>(v)); }
  template <class T>
  requires std::is_integral_v<T> || std::is_enum_v<T>
  void one(T v) { hash_ = hash_mix(hash_, static_cast<uint64_t>(v)); }
  template <class T>
  void one(const std::vector<T>& values) {
    one(values.size());
    for (const T& v : values) one(v);
  }
  template <class T>
  void one(const std::optional<T>& v) {
    one(v.has_value());
    if (v) one(*v);
  }
  void one(const YarnParams& y) {
    add(y.factor, y.original_max_position, y.beta_fast, y.beta_slow, y.truncate);
  }

  uint64_t hash_ = kHashSeed;
};

// A new field changes a size; whoever adds one adds it below, and to Digest.EveryFieldCounts.
#if defined(__x86_64__) && defined(__GLIBCXX__)
static_assert(sizeof(MlaConfig) == 120 && sizeof(MoeConfig) == 64 && sizeof(ModelConfig) == 384);
static_assert(sizeof(RouterSpec) == 40 && sizeof(YarnParams) == 40);
#endif

}  // namespace

uint64_t config_digest(const ModelConfig& c) {
  Digest d;
  d.add(c.family, c.vocab, c.hidden, c.layers, c.max_positions, c.rms_eps, c.tied_embeddings, c.eos,
        c.bos, c.attention, c.mlp, c.dense_width, c.mtp_layers, c.fp8_blocks);
  const MlaConfig& a = c.mla;
  d.add(a.heads, a.q_lora, a.kv_lora, a.nope, a.rope, a.v, a.rope_theta, a.yarn, a.softmax_scale,
        a.latent_norm_eps);
  const RouterSpec& r = c.moe.router;
  d.add(r.experts, r.top_k, r.scoring, r.weights, r.group_score, r.groups, r.top_groups,
        r.per_group, r.scale, r.epsilon);
  d.add(c.moe.router_bias, c.moe.expert_width, c.moe.shared_width);
  return d.value();
}

uint64_t model_digest(const ModelConfig& config, const WeightSource& source) {
  return hash_mix(config_digest(config), source.header_digest());
}

}  // namespace wingspan
