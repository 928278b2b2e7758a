#include "engine/order_stream.h"

#include <algorithm>
#include <cstring>

#include "base/hash.h"

namespace wingspan {
namespace {

class Writer {
 public:
  template <class T>
  void value(const T& v) {
    static_assert(std::is_trivially_copyable_v<T>);
    const auto* p = reinterpret_cast<const std::byte*>(&v);
    out.insert(out.end(), p, p + sizeof(T));
  }
  template <class T>
  void list(const std::vector<T>& values) {
    value(static_cast<int64_t>(values.size()));
    for (const T& v : values) value(v);
  }
  std::vector<std::byte> out;
};

class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <class T>
  void value(T& v) {
    if (bytes_.size() < sizeof(T)) {
      good_ = false;
      return;
    }
    std::memcpy(&v, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
  }
  template <class T>
  void list(std::vector<T>& values) {
    values.resize(count(sizeof(T)));
    for (T& v : values) value(v);
  }
  // Of entries of at least `size` bytes, so that no count asks for more memory than there are
  // bytes.
  size_t count(size_t size) {
    int64_t n = 0;
    value(n);
    if (n >= 0 && static_cast<uint64_t>(n) <= bytes_.size() / size) return static_cast<size_t>(n);
    good_ = false;
    return 0;
  }
  bool good() const { return good_; }
  bool complete() const { return good_ && bytes_.empty(); }

 private:
  std::span<const std::byte> bytes_;
  bool good_ = true;
};

struct Bias {
  int32_t id = 0;
  float value = 0;
};

// One list of fields for both directions, so that none is forgotten in one of them.
template <class Stream, class Params>
void sampling(Stream& s, Params& p) {
  s.value(p.temperature);
  s.value(p.top_k);
  s.value(p.top_p);
  s.value(p.min_p);
  s.value(p.presence_penalty);
  s.value(p.frequency_penalty);
  s.value(p.repetition_penalty);
  s.value(p.min_tokens);
  s.value(p.seed);
}

template <class Stream, class R>
void request(Stream& s, R& r) {
  s.list(r.prompt);
  s.value(r.max_tokens);
  sampling(s, r.sampling);
  s.list(r.stop_ids);
  s.value(r.score);
  s.value(r.top_logprobs);
  s.value(r.priority);
  s.value(r.hash_logits);
}

}  // namespace

std::vector<std::byte> write_orders(const Orders& orders) {
  Writer w;
  w.value(static_cast<int64_t>(orders.add.size()));
  for (const Submit& submit : orders.add) {
    w.value(submit.id);
    request(w, submit.request);
    std::vector<Bias> biases;
    for (const auto& [id, value] : submit.request.sampling.logit_bias)
      biases.push_back({id, value});
    w.list(biases);
  }
  w.list(orders.cancel);
  w.value(orders.prompt_rows);
  w.value(orders.stop);
  return std::move(w.out);
}

Expected<Orders> read_orders(std::span<const std::byte> bytes) {
  Reader r(bytes);
  Orders out;
  out.add.resize(r.count(64));
  for (Submit& submit : out.add) {
    r.value(submit.id);
    request(r, submit.request);
    std::vector<Bias> biases;
    r.list(biases);
    for (const Bias& b : biases) submit.request.sampling.logit_bias.emplace_back(b.id, b.value);
    if (!r.good()) break;
  }
  r.list(out.cancel);
  r.value(out.prompt_rows);
  r.value(out.stop);
  if (!r.complete()) return failed("malformed orders", "commit");
  return out;
}

void OrderSender::start(const Orders& orders) {
  bytes_.clear();
  sent_ = 0;
  if (!orders.empty()) bytes_ = write_orders(orders);
}

std::span<const std::byte> OrderSender::take(size_t limit) {
  const size_t size = std::min(limit, bytes_.size() - sent_);
  const auto piece = std::span<const std::byte>(bytes_).subspan(sent_, size);
  sent_ += size;
  return piece;
}

Expected<bool> OrderReceiver::add(std::span<const std::byte> piece, bool more) {
  bytes_.insert(bytes_.end(), piece.begin(), piece.end());
  if (more || bytes_.empty()) return false;
  WS_ASSIGN(orders_, read_orders(bytes_));
  for (const std::byte b : bytes_) hash_ = hash_mix(hash_, static_cast<uint64_t>(b));
  bytes_.clear();
  return true;
}

}  // namespace wingspan
