#include "serve/access.h"

#include <algorithm>

#include "base/clock.h"

namespace wingspan::serve {

bool equal_in_constant_time(std::string_view given, std::string_view secret) {
  // Every byte of `given` is looked at, against a secret that is repeated or cut to its length.
  volatile unsigned char differs = given.size() == secret.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i) {
    const unsigned char other =
        secret.empty() ? 0 : static_cast<unsigned char>(secret[i % secret.size()]);
    differs = static_cast<unsigned char>(differs | (static_cast<unsigned char>(given[i]) ^ other));
  }
  return differs == 0;
}

bool authorized(const std::optional<std::string>& header, const std::vector<std::string>& keys) {
  if (keys.empty()) return true;
  if (!header) return false;
  std::string_view text = *header;
  constexpr std::string_view kScheme = "bearer";
  if (text.size() <= kScheme.size() || text[kScheme.size()] != ' ') return false;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    if ((text[i] | 0x20) != kScheme[i]) return false;
  }
  text.remove_prefix(kScheme.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  bool known = false;
  for (const std::string& key : keys) known = equal_in_constant_time(text, key) || known;
  return known && !text.empty();
}

RateLimiter::RateLimiter(double requests_per_s, size_t max_clients)
    : rate_(requests_per_s), burst_(std::max(1.0, requests_per_s)), max_clients_(max_clients) {}

double RateLimiter::tokens_at(const Bucket& bucket, int64_t now_ns) const {
  return std::min(burst_, bucket.tokens + rate_ * seconds(bucket.at_ns, now_ns));
}

void RateLimiter::forget(int64_t now_ns) {
  std::erase_if(buckets_,
                [&](const auto& entry) { return tokens_at(entry.second, now_ns) >= burst_; });
  if (buckets_.size() >= max_clients_) buckets_.clear();
}

double RateLimiter::take(const std::string& client, int64_t now_ns) {
  if (rate_ <= 0) return 0;
  auto found = buckets_.find(client);
  if (found == buckets_.end()) {
    if (buckets_.size() >= max_clients_) forget(now_ns);
    found = buckets_.emplace(client, Bucket{burst_, now_ns}).first;
  }
  Bucket& bucket = found->second;
  bucket.tokens = tokens_at(bucket, now_ns);
  bucket.at_ns = now_ns;
  if (bucket.tokens < 1) return (1 - bucket.tokens) / rate_;
  bucket.tokens -= 1;
  return 0;
}

}  // namespace wingspan::serve
