// The avx512 kernels on any x86-64-v3 CPU, for tests: the same source over emulated instructions.
#pragma once

#include <cctype>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace wingspan {

// Null where this build or CPU cannot (no SIMDe, no AVX2).
const Kernels* emulated_avx512();

// Every table of kernels that this machine can run, and the emulated one.
inline std::vector<const Kernels*> tested_kernels() {
  std::vector<const Kernels*> out = all_kernels();
  if (const Kernels* table = emulated_avx512()) out.push_back(table);
  return out;
}

// Its name and variant as part of a test's name.
inline std::string test_name(const Kernels& kernels) {
  std::string name = std::string(kernels.name) + "_" + kernels.variant;
  for (char& c : name) c = std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

}  // namespace wingspan
