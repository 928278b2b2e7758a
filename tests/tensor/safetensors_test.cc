// Safetensors from strangers: each lie of a header is an error, nothing is read beyond the file.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/rng.h"
#include "support/paths.h"
#include "tensor/safetensors.h"

namespace wingspan::test {
namespace {

std::string with_length(const std::string& header, uint64_t length, size_t data_bytes) {
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header + std::string(data_bytes, '\x01');
}

std::string file_of(const std::string& header, size_t data_bytes) {
  return with_length(header, header.size(), data_bytes);
}

class Safetensors : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& bytes) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  std::string error_of(const std::string& bytes) {
    const auto file = SafetensorsFile::open(real_files(), write("x.safetensors", bytes));
    return file ? "" : file.error().message();
  }
  const std::string directory_ = temporary_directory();
};

TEST_F(Safetensors, WhatIsWrittenIsReadBack) {
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<int32_t> b = {7, 8};
  const std::string path = directory_ + "/t.safetensors";
  ASSERT_TRUE(write_safetensors(real_files(), path,
                                {{"a", DType::kF32, {2, 3}, std::as_bytes(std::span(a))},
                                 {"b", DType::kI32, {2}, std::as_bytes(std::span(b))}}));
  const auto file = SafetensorsFile::open(real_files(), path);
  ASSERT_TRUE(file) << file.error().message();
  std::vector<float> back(6);
  ASSERT_TRUE(file->read(file->tensors().at("a"), std::as_writable_bytes(std::span(back))));
  EXPECT_EQ(back, a);
  EXPECT_EQ(file->tensors().at("b").shape, (std::vector<int64_t>{2}));
}

TEST_F(Safetensors, LiesAreRefused) {
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  EXPECT_EQ(error_of(file_of(ok, 8)), "");
  const auto refused = [&](const std::string& bytes, const char* why) {
    EXPECT_NE(error_of(bytes), "") << why;
  };
  refused("", "empty");
  refused("1234567", "no length");
  refused(with_length(ok, 1'000'000, 8), "header longer than the file");
  refused(with_length(ok, ~uint64_t{0}, 8), "length that overflows");
  refused(with_length(ok, 10, 8), "header cut");
  refused(file_of(ok, 7), "data cut");
  refused(file_of(ok, 12), "bytes that no tensor owns");
  refused(file_of("[]", 0), "not an object");
  refused(file_of("{", 0), "not JSON");
  const auto header = [](const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
    return fmt::format(R"({{"a":{{"dtype":{},"shape":{},"data_offsets":{}}}}})", dtype, shape,
                       offsets);
  };
  refused(file_of(header("\"F33\"", "[2]", "[0,8]"), 8), "unknown dtype");
  refused(file_of(header("7", "[2]", "[0,8]"), 8), "dtype is a number");
  refused(file_of(header("\"F32\"", "[3]", "[0,8]"), 8), "shape against bytes");
  refused(file_of(header("\"F32\"", "[-2]", "[0,8]"), 8), "negative");
  refused(file_of(header("\"F32\"", "[1000000000000000000]", "[0,8]"), 8), "10^18");
  refused(file_of(header("\"F32\"", "[4294967296,4294967296]", "[0,8]"), 8), "overflow to 0");
  refused(file_of(header("\"F32\"", "[2.5]", "[0,8]"), 8), "fraction");
  refused(file_of(header("\"F32\"", "[2]", "[8,0]"), 8), "reversed");
  refused(file_of(header("\"F32\"", "[2]", "[0,8,9]"), 8), "three offsets");
  refused(file_of(header("\"F32\"", "[2]", "[-8,0]"), 8), "negative offset");
  refused(file_of(header("\"F32\"", "[2]", "[8,16]"), 8), "out of range");
  refused(file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "no offsets");
  refused(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                  12),
          "overlap");
  refused(file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                  R"("a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}})",
                  16),
          "duplicate name");
  refused(file_of(std::string(100'000, '['), 0), "deep nesting");
}

TEST_F(Safetensors, DamagedHeadersNeverReadBeyondTheFile) {
  const std::string ok = R"({"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                         R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}})";
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    std::string bytes = file_of(ok, 32);
    for (int i = 0; i < 2; ++i) {
      bytes[static_cast<size_t>(rng.below(bytes.size()))] =
          static_cast<char>(rng.below(2) == 0 ? '0' + static_cast<int>(rng.below(10))
                                              : static_cast<int>(rng.below(256)));
    }
    const auto file = SafetensorsFile::open(real_files(), write("d.safetensors", bytes));
    if (!file) continue;
    for (const auto& [name, info] : file->tensors()) {
      EXPECT_LE(info.offset + info.bytes, bytes.size());
      std::vector<std::byte> data(info.bytes);
      EXPECT_TRUE(file->read(info, data));
    }
  }
}

class CheckpointTest : public Safetensors {
 protected:
  void shard(const std::string& name, const std::string& tensor) {
    write(name,
          file_of(
              fmt::format(R"({{"{}":{{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}}})", tensor),
              8));
  }
  std::string open_error(const std::string& index) {
    write("model.safetensors.index.json", index);
    const auto checkpoint = Checkpoint::open(real_files(), directory_);
    return checkpoint ? "" : checkpoint.error().message();
  }
};

TEST_F(CheckpointTest, TheIndexIsHeldToTheShards) {
  shard("1.safetensors", "a");
  shard("2.safetensors", "b");
  EXPECT_EQ(open_error(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})"), "");
  EXPECT_NE(open_error(R"({"weight_map":{"a":"1.safetensors","c":"2.safetensors"}})"), "");
  EXPECT_NE(open_error(R"({"weight_map":{"a":"3.safetensors"}})"), "");
  EXPECT_NE(open_error(R"({"weight_map":{"a":"../1.safetensors"}})"), "");
  EXPECT_NE(open_error(R"({"weight_map":{"a":7}})"), "");
  EXPECT_NE(open_error(R"({"weight_map":[]})"), "");
  EXPECT_NE(open_error(R"({})"), "");
  EXPECT_NE(open_error("not json"), "");
  shard("2.safetensors", "a");
  EXPECT_NE(open_error(R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})"), "");
}

TEST_F(CheckpointTest, NothingThereIsAnError) {
  const auto checkpoint = Checkpoint::open(real_files(), directory_);
  ASSERT_FALSE(checkpoint);
  EXPECT_NE(checkpoint.error().message().find("safetensors"), std::string::npos);
}

}  // namespace
}  // namespace wingspan::test
