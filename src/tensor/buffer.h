// Owned, 64-byte aligned, zero-initialised memory from anonymous pages (never mapped files, whose
// pages the kernel may drop: a reload costs more than the first load).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace wingspan {

class Buffer {
 public:
  Buffer() = default;
  // Untouched pages cost no memory. Aborts if the address space is used up: callers predict their
  // memory first (model/memory.h).
  explicit Buffer(size_t bytes);
  ~Buffer();
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  size_t size() const { return bytes_; }
  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(data_);
  }
  std::span<std::byte> bytes() { return {data_, bytes_}; }
  std::span<const std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace wingspan
