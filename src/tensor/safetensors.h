// Safetensors: u64 little-endian header length, a JSON header (dtype, shape, data_offsets relative
// to the end of the header), then the data. Files come from strangers, so everything in a header is
// checked before it is used.
//
// Source: https://github.com/huggingface/safetensors (format description).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "tensor/dtype.h"

namespace wingspan {

struct TensorInfo {
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  uint64_t offset = 0;  // from the start of the file
  uint64_t bytes = 0;   // = product(shape) × dtype_size

  int64_t elements() const;
};

// One open file. Thread-safe for reading.
class SafetensorsFile {
 public:
  // Errors (kInvalidInput, naming file and tensor): header longer than the file or than 100 MB,
  // bad JSON, unknown dtype, negative or overflowing shape, offsets that are out of range, overlap,
  // leave holes, or do not match dtype × shape.
  static Expected<SafetensorsFile> open(const Files& files, const std::string& path);

  const std::map<std::string, TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return path_; }
  // Reads the whole tensor; `out` has exactly info.bytes.
  Status read(const TensorInfo& info, std::span<std::byte> out) const;
  // Reads `out.size()` bytes that begin `skip` bytes into the tensor.
  Status read_part(const TensorInfo& info, uint64_t skip, std::span<std::byte> out) const;

 private:
  std::string path_;
  std::shared_ptr<RandomAccessFile> file_;
  std::map<std::string, TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
};

// The tensors of a Hugging Face directory: model.safetensors, or the shards that
// model.safetensors.index.json names.
class Checkpoint {
 public:
  // Errors: neither file there, a shard missing, outside the directory or unreadable, a tensor in
  // two shards, the index naming a tensor that its shard lacks, a tensor that the index lacks.
  static Expected<Checkpoint> open(const Files& files, const std::string& directory);

  bool has(const std::string& name) const { return where_.count(name) != 0; }
  std::vector<std::string> names() const;  // sorted
  // Error (kInvalidInput) if absent.
  Expected<TensorInfo> info(const std::string& name) const;
  Status read(const std::string& name, std::span<std::byte> out) const;
  Status read_part(const std::string& name, uint64_t skip, std::span<std::byte> out) const;
  uint64_t total_bytes() const;
  // Of every shard's tensors (name, dtype, shape, offset, size), in the order of their names.
  uint64_t header_digest() const;
  const std::string& directory() const { return directory_; }

 private:
  std::string directory_;
  std::vector<std::shared_ptr<const SafetensorsFile>> shards_;
  std::map<std::string, size_t> where_;
};

// Writes float32, int32, … tensors in order; `bytes` is asked for when its turn comes, so that
// large outputs need not be held at once.
struct TensorToWrite {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};
Status write_safetensors(const Files& files, const std::string& path,
                         const std::vector<TensorToWrite>& tensors);

}  // namespace wingspan
