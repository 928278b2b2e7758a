// Bytes as the counts of one rank in TensorRT-LLM's statistic directory.
#include <cstddef>
#include <cstdint>

#include "eplb_files/formats.h"
#include "memory_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wingspan;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const MemoryFiles files(
      {{"meta_info.json", "{\"num_experts\":16}"}, {"rank0.safetensors", text}});
  const auto load = read_recorded_load(files, MemoryFiles::kDirectory, EplbFormat::kTensorrtLlm);
  if (load) (void)load->total();
  return 0;
}
