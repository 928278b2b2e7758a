// Bytes as the JSON of every engine: loads by content, placements, and JSON lines of vLLM.
#include <cstddef>
#include <cstdint>

#include "eplb_files/engine_formats.h"
#include "eplb_files/formats.h"
#include "memory_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wingspan;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const MemoryFiles files({{"f", text}});
  for (const EplbFormat format : {EplbFormat::kAuto, EplbFormat::kJson, EplbFormat::kSglang,
                                  EplbFormat::kAdrs, EplbFormat::kVllm}) {
    if (const auto load = read_recorded_load(files, "f", format)) (void)load->total();
  }
  (void)read_recorded_placement(files, "f");
  (void)read_vllm_placement(text, "f");
  return 0;
}
