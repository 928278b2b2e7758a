// Bytes as a config.json; one that is accepted has counts that don't overflow.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "model/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto config = wingspan::parse_model_config(text, "f");
  if (config && wingspan::count_parameters(*config).total <= 0) __builtin_trap();
  return 0;
}
