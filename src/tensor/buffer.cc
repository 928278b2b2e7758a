#include "tensor/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <utility>

#include "base/refused.h"

namespace wingspan {
namespace {

// Below this, a page of its own would waste more than the allocator does.
constexpr size_t kMapThreshold = size_t{256} << 10;
constexpr size_t kAlignment = 64;

}  // namespace

Buffer::Buffer(size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kMapThreshold) {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw MemoryRefused(bytes);
    data_ = static_cast<std::byte*>(p);
    return;
  }
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
  if (data_ == nullptr) throw MemoryRefused(bytes);
  std::memset(data_, 0, rounded);
}

Buffer::~Buffer() {
  if (data_ == nullptr) return;
  if (bytes_ >= kMapThreshold) {
    ::munmap(data_, bytes_);
  } else {
    std::free(data_);
  }
}

Buffer::Buffer(Buffer&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

}  // namespace wingspan
