// Bytes as TensorRT-LLM's moe_load_balancer.yaml.
#include <cstddef>
#include <cstdint>

#include "eplb_files/engine_formats.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  (void)wingspan::read_tensorrt_llm_placement(text, "f");
  return 0;
}
