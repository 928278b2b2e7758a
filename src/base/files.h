// The one door to the file system, so that tests can put an in-memory or a failing twin behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace wingspan {

// An open file for reading at any offset. Thread-safe.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;
  virtual uint64_t size() const = 0;
  // Fills all of `out` from `offset`; an end of file before that is an error (kIo).
  virtual Status read_at(uint64_t offset, std::span<std::byte> out) const = 0;
};

// Receives the bytes of a file that is being written.
class FileSink {
 public:
  virtual ~FileSink() = default;
  virtual Status write(std::span<const std::byte> bytes) = 0;
  Status write(std::string_view text);
};

class Files {
 public:
  virtual ~Files() = default;
  virtual bool exists(const std::string& path) const = 0;
  virtual bool is_directory(const std::string& path) const = 0;
  // Names (not paths) in a directory, sorted.
  virtual Expected<std::vector<std::string>> list(const std::string& directory) const = 0;
  virtual Expected<std::shared_ptr<RandomAccessFile>> open(const std::string& path) const = 0;
  // Writes to a temporary name in the same directory, syncs, then renames: readers see the old file
  // or the whole new one, and a failure leaves nothing behind.
  virtual Status write_atomically(const std::string& path,
                                  const std::function<Status(FileSink&)>& fill) const = 0;

  // The whole file as text; more than `max_bytes` is an error (kInvalidInput).
  Expected<std::string> read_text(const std::string& path, uint64_t max_bytes) const;
  Status write_text(const std::string& path, std::string_view text) const;
};

// The real file system.
const Files& real_files();

}  // namespace wingspan
