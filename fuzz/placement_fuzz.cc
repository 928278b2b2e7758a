// Bytes as a placement and as a load; what is read is written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "placement/load.h"
#include "placement/placement.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto placement = wingspan::parse_placement(text, "f")) {
    if (!wingspan::parse_placement(wingspan::placement_to_json(*placement, "r"), "g")) {
      __builtin_trap();
    }
  }
  if (const auto load = wingspan::parse_load(text, "f")) {
    if (!wingspan::parse_load(wingspan::load_to_json(*load), "g")) __builtin_trap();
  }
  return 0;
}
