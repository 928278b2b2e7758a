// Files in memory for the fuzz targets: a few names, all in one directory.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"

namespace wingspan {

class MemoryFiles final : public Files {
 public:
  explicit MemoryFiles(std::map<std::string, std::string> files) : files_(std::move(files)) {}
  bool exists(const std::string& path) const override {
    return path == kDirectory || files_.contains(name_of(path));
  }
  bool is_directory(const std::string& path) const override { return path == kDirectory; }
  Expected<std::vector<std::string>> list(const std::string& /*directory*/) const override {
    std::vector<std::string> out;
    for (const auto& [name, bytes] : files_) out.push_back(name);
    return out;
  }
  Expected<std::shared_ptr<RandomAccessFile>> open(const std::string& path) const override {
    const auto found = files_.find(name_of(path));
    if (found == files_.end()) return io_error("no such file", path);
    return std::shared_ptr<RandomAccessFile>(std::make_shared<Bytes>(found->second));
  }
  Status write_atomically(const std::string& path,
                          const std::function<Status(FileSink&)>& /*fill*/) const override {
    return io_error("read only", path);
  }

  static constexpr const char* kDirectory = "d";

 private:
  class Bytes final : public RandomAccessFile {
   public:
    explicit Bytes(const std::string& bytes) : bytes_(bytes) {}
    uint64_t size() const override { return bytes_.size(); }
    Status read_at(uint64_t offset, std::span<std::byte> out) const override {
      if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
        return io_error("end of file");
      }
      if (!out.empty()) std::memcpy(out.data(), bytes_.data() + offset, out.size());
      return {};
    }

   private:
    const std::string& bytes_;
  };
  static std::string name_of(const std::string& path) {
    const size_t slash = path.find('/');
    return slash == std::string::npos ? path : path.substr(slash + 1);
  }
  std::map<std::string, std::string> files_;
};

}  // namespace wingspan
