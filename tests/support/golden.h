// The tensors of a golden safetensors file, by name.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tensor/safetensors.h"

namespace wingspan::test {

// A file or tensor that is missing fails the test and reads as empty.
class Golden {
 public:
  explicit Golden(const std::string& path) {
    auto file = SafetensorsFile::open(real_files(), path);
    EXPECT_TRUE(file) << file.error().message();
    if (file) file_.emplace(*std::move(file));
  }
  bool has(const std::string& name) const { return file_ && file_->tensors().count(name) != 0; }
  std::vector<float> floats(const std::string& name) const { return get<float>(name); }
  std::vector<int32_t> ints(const std::string& name) const { return get<int32_t>(name); }
  template <class T>
  std::vector<T> get(const std::string& name) const {
    EXPECT_TRUE(has(name)) << name;
    if (!has(name)) return {};
    const TensorInfo& info = file_->tensors().at(name);
    std::vector<T> values(info.bytes / sizeof(T));
    EXPECT_TRUE(file_->read(info, std::as_writable_bytes(std::span(values))));
    return values;
  }

 private:
  std::optional<SafetensorsFile> file_;
};

}  // namespace wingspan::test
