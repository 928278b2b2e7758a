#include "eplb_files/recorded.h"

#include <fmt/format.h>

#include <cmath>

#include "base/check.h"

namespace wingspan {

Status CountTable::append(int64_t count) {
  if (count < 0) return invalid_input(fmt::format("the count {} is negative", count));
  if (is_whole()) {
    whole_.push_back(count);
  } else {
    real_.push_back(static_cast<double>(count));
  }
  return {};
}

Status CountTable::append(double count) {
  if (!std::isfinite(count)) return invalid_input(fmt::format("the count {} is not finite", count));
  if (count < 0) return invalid_input(fmt::format("the count {} is negative", count));
  if (is_whole() && count == std::floor(count) && count < 0x1p63) {
    whole_.push_back(static_cast<int64_t>(count));
    return {};
  }
  make_real();
  real_.push_back(count);
  return {};
}

void CountTable::make_real() {
  if (!real_.empty() || whole_.empty()) return;
  real_.assign(whole_.begin(), whole_.end());
  whole_ = {};
}

double CountTable::at(size_t layer, size_t expert) const {
  const size_t i = layer * experts_ + expert;
  return is_whole() ? static_cast<double>(whole_[i]) : real_[i];
}

int64_t CountTable::whole_at(size_t layer, size_t expert) const {
  WS_CHECK(is_whole());
  return whole_[layer * experts_ + expert];
}

Status CountTable::add(const CountTable& other) {
  WS_CHECK(complete() && other.complete() && layers_ == other.layers_ && experts_ == other.experts_,
           "[{}][{}] + [{}][{}]", layers_, experts_, other.layers_, other.experts_);
  if (!is_whole() || !other.is_whole()) make_real();
  for (size_t i = 0; i < size(); ++i) {
    const auto too_large = [&] {
      return invalid_input("the sum of counts overflows int64",
                           fmt::format("layer row {}, expert {}", i / experts_, i % experts_),
                           "give fewer steps");
    };
    if (is_whole()) {
      if (__builtin_add_overflow(whole_[i], other.whole_[i], &whole_[i])) return too_large();
    } else {
      real_[i] += other.is_whole() ? static_cast<double>(other.whole_[i]) : other.real_[i];
      if (!std::isfinite(real_[i])) return too_large();
    }
  }
  return {};
}

std::vector<std::vector<double>> CountTable::rows() const {
  std::vector<std::vector<double>> out(layers_, std::vector<double>(experts_));
  for (size_t l = 0; l < layers_; ++l) {
    for (size_t e = 0; e < experts_; ++e) out[l][e] = at(l, e);
  }
  return out;
}

Expected<CountTable> RecordedLoad::total() const {
  WS_CHECK(!windows.empty());
  CountTable sum = windows.front().counts;
  for (size_t w = 1; w < windows.size(); ++w) WS_RETURN_IF_ERROR(sum.add(windows[w].counts));
  return sum;
}

}  // namespace wingspan
