// Who may ask, and how often.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace wingspan::serve {

// Whether a secret equals another, in a time that depends on the length of `given` alone.
bool equal_in_constant_time(std::string_view given, std::string_view secret);

// Whether an Authorization header (nothing: none was sent) gives one of the keys as "Bearer KEY".
// Without keys every header is accepted. All keys are compared, whichever fits.
bool authorized(const std::optional<std::string>& header, const std::vector<std::string>& keys);

// At most so many requests a second of one client, with a burst of the same number (at least one).
// Remembers a bounded number of clients: those that could send their whole burst again are
// forgotten first, and if there are none, everybody. Not thread-safe.
class RateLimiter {
 public:
  // 0: no limit.
  explicit RateLimiter(double requests_per_s, size_t max_clients = 4096);

  // Takes one request of `client` into account. 0: it may run; else the seconds until it may.
  double take(const std::string& client, int64_t now_ns);
  size_t clients() const { return buckets_.size(); }

 private:
  struct Bucket {
    double tokens = 0;
    int64_t at_ns = 0;
  };
  double tokens_at(const Bucket& bucket, int64_t now_ns) const;
  void forget(int64_t now_ns);
  double rate_, burst_;
  size_t max_clients_;
  std::unordered_map<std::string, Bucket> buckets_;
};

}  // namespace wingspan::serve
