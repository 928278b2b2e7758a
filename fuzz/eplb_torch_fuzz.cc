// Bytes as a torch.save file, and as its pickle alone (a zip's checksums stop most mutations).
#include <cstddef>
#include <cstdint>

#include "eplb_files/formats.h"
#include "eplb_files/pickle.h"
#include "memory_files.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wingspan;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const MemoryFiles files({{"f", text}});
  for (const EplbFormat format : {EplbFormat::kAuto, EplbFormat::kSglang, EplbFormat::kAscend}) {
    if (const auto load = read_recorded_load(files, "f", format)) (void)load->total();
  }
  (void)read_recorded_placement(files, "f");
  (void)Pickle::parse(text, "f");
  return 0;
}
