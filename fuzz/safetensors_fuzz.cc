// Bytes as a safetensors file: opened, and every tensor read.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "tensor/safetensors.h"

namespace {

// One file in memory.
class OneFile final : public wingspan::Files, public wingspan::RandomAccessFile {
 public:
  OneFile(const uint8_t* data, size_t size) : data_(data), size_(size) {}
  bool exists(const std::string&) const override { return true; }
  bool is_directory(const std::string&) const override { return false; }
  wingspan::Expected<std::vector<std::string>> list(const std::string&) const override {
    return std::vector<std::string>{};
  }
  wingspan::Expected<std::shared_ptr<wingspan::RandomAccessFile>> open(
      const std::string&) const override {
    return std::shared_ptr<wingspan::RandomAccessFile>(std::make_shared<OneFile>(data_, size_));
  }
  wingspan::Status write_atomically(
      const std::string&,
      const std::function<wingspan::Status(wingspan::FileSink&)>&) const override {
    return wingspan::io_error("read only");
  }
  uint64_t size() const override { return size_; }
  wingspan::Status read_at(uint64_t offset, std::span<std::byte> out) const override {
    if (offset > size_ || out.size() > size_ - offset) return wingspan::io_error("end of file");
    if (!out.empty()) std::memcpy(out.data(), data_ + offset, out.size());
    return {};
  }

 private:
  const uint8_t* data_;
  size_t size_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const OneFile files(data, size);
  const auto file = wingspan::SafetensorsFile::open(files, "f");
  if (!file) return 0;
  for (const auto& [name, info] : file->tensors()) {
    std::vector<std::byte> bytes(info.bytes);
    if (!file->read(info, bytes)) __builtin_trap();
  }
  return 0;
}
