#include "kernels/kernels.h"

#include <algorithm>
#include <atomic>

#include "base/clock.h"
#include "kernels/avx512.h"
#include "kernels/portable.h"
#include "kernels/probe.h"

namespace wingspan {
namespace {

// The reference is judged by what the same build could do.
constexpr Kernels kReference = {"reference",          "scalar",
                                linear_ref,           gate_up_ref,
                                rms_norm_ref,         mla_attention_ref,
                                softmax_ref,          log_sum_exp_ref,
                                combine_ref,          baseline::probe_fma,
                                baseline::probe_read, baseline::probe_fma,
                                kProbeFmaFlops,       sigmoid_ref,
                                rope_apply,           narrow_bf16_ref,
                                round_bf16_ref};

#define WINGSPAN_PORTABLE_TABLE(isa, text)                                                        \
  {                                                                                               \
    "portable", text, isa::linear, isa::gate_up, isa::rms_norm, isa::mla_attention, isa::softmax, \
        isa::log_sum_exp, isa::combine, isa::probe_fma, isa::probe_read, isa::probe_fma,          \
        kProbeFmaFlops, isa::sigmoid, isa::rope, isa::narrow_bf16, isa::round_bf16                \
  }

constexpr Kernels kPortable[] = {
    WINGSPAN_PORTABLE_TABLE(baseline, "baseline"),
#if defined(__x86_64__)
    WINGSPAN_PORTABLE_TABLE(v3, "x86-64-v3"),
    WINGSPAN_PORTABLE_TABLE(v4, "x86-64-v4"),
#endif
};

#if defined(__x86_64__)
constexpr Kernels kAvx512 = {"avx512",        "avx512bf16",    avx512::linear,
                             avx512::gate_up, v4::rms_norm,    avx512::mla_attention,
                             v4::softmax,     v4::log_sum_exp, v4::combine,
                             v4::probe_fma,   v4::probe_read,  avx512::probe_bf16,
                             kProbeBf16Flops, v4::sigmoid,     v4::rope,
                             v4::narrow_bf16, v4::round_bf16};

// For CPUs whose dot products are slow: only where memory bounds a GEMM anyway, since they need the
// fewest instructions.
constexpr int64_t kFewRows = 2;
void few_linear(const LinearArgs& a) { a.x.rows <= kFewRows ? avx512::linear(a) : v4::linear(a); }
void few_gate_up(const GateUpArgs& a) {
  a.x.rows <= kFewRows ? avx512::gate_up(a) : v4::gate_up(a);
}
constexpr Kernels kAvx512Fma = [] {
  Kernels k = kAvx512;
  k.variant = "avx512bf16 for few rows, fma";
  k.linear = few_linear;
  k.gate_up = few_gate_up;
  k.mla_attention = v4::mla_attention;
  k.probe_bf16 = v4::probe_fma;
  k.probe_bf16_flops = kProbeFmaFlops;
  return k;
}();

// The least time of a few short runs.
double shortest(float (*probe)(int64_t), int64_t rounds) {
  double least = 1;
  std::atomic<float> kept{0};  // keeps the work
  for (int i = 0; i < 5; ++i) {
    const int64_t begin = system_clock().now_ns();
    kept.store(probe(rounds));
    least = std::min(least, seconds(begin, system_clock().now_ns()));
  }
  return least;
}

// Whether dot products do more than float32 multiply-adds: on AMD's Zen 4 twice as much, on Intel's
// Xeons half as much. A tenth of a millisecond, once.
bool dot_products_pay() {
  static const bool pay = [] {
    constexpr int64_t kRounds = 1000;
    const double dots = shortest(avx512::probe_bf16, kRounds) / kProbeBf16Flops;
    return dots < shortest(v4::probe_fma, kRounds) / kProbeFmaFlops;
  }();
  return pay;
}
#endif

// How many of kPortable this CPU can run.
int usable_variants() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  return v4 ? 3 : v3 ? 2 : 1;
#else
  return 1;
#endif
}

// Empty where the CPU lacks BF16 dot products or byte permutes; the faster one first.
std::vector<const Kernels*> avx512_tables() {
#if defined(__x86_64__)
  if (usable_variants() == 3 && __builtin_cpu_supports("avx512bf16") &&
      __builtin_cpu_supports("avx512vbmi")) {
    if (dot_products_pay()) return {&kAvx512, &kAvx512Fma};
    return {&kAvx512Fma, &kAvx512};
  }
#endif
  return {};
}

}  // namespace

std::vector<std::string> kernel_names() {
  std::vector<std::string> names = {"auto", "reference", "portable"};
  if (!avx512_tables().empty()) names.push_back("avx512");
  return names;
}

std::vector<const Kernels*> all_kernels() {
  std::vector<const Kernels*> out = {&kReference};
  for (int i = 0; i < usable_variants(); ++i) out.push_back(&kPortable[i]);
  for (const Kernels* table : avx512_tables()) out.push_back(table);
  return out;
}

Expected<const Kernels*> choose_kernels(std::string_view name) {
  const auto tables = avx512_tables();
  const Kernels* const avx512 = tables.empty() ? nullptr : tables[0];
  const Kernels* const portable = &kPortable[usable_variants() - 1];
  if (name == "reference") return &kReference;
  if (name == "portable") return portable;
  if (name == "auto") return avx512 != nullptr ? avx512 : portable;
  if (name == "avx512" && avx512 != nullptr) return avx512;
  return invalid_input(name == "avx512" ? "this CPU lacks AVX-512 with BF16 dot products and VBMI"
                                        : "unknown kernel kind \"" + std::string(name) + "\"",
                       "--kernel", "use auto, reference or portable");
}

std::string cpu_features() {
  std::string out;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto add = [&](bool there, const char* name) {
    if (there) out += (out.empty() ? "" : " ") + std::string(name);
  };
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("fma"), "fma");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512vnni"), "avx512vnni");
  add(__builtin_cpu_supports("avx512bf16"), "avx512bf16");
  add(__builtin_cpu_supports("avx512vbmi"), "avx512vbmi");
#elif defined(__aarch64__)
  out = "neon";
#endif
  return out.empty() ? "baseline" : out;
}

}  // namespace wingspan
