#include "comm/loopback.h"
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include "tensor/buffer.h"
namespace wingspan {
namespace {
struct Chan { int n; size_t cap; std::vector<Buffer> mem; std::vector<size_t> sizes; std::vector<int64_t> posted; std::vector<int64_t> finished;
  Chan(int r, size_t c) : n(r), cap((c + 63) / 64 * 64), mem(size_t(r) * r * 2), sizes(size_t(r) * r * 2), posted(size_t(r) * r), finished(r) { for (auto& m : mem) m = Buffer(cap); } };
struct World { int n; std::mutex m; std::condition_variable cv; std::vector<std::shared_ptr<Chan>> chans; std::vector<int> opened; bool aborted = false; Error error; int bar = 0; int64_t gen = 0; };
class Ch final : public Channel { public:
  Ch(std::shared_ptr<World> w, std::shared_ptr<Chan> c, int me) : w_(w), c_(c), me_(me) {}
  size_t capacity() const override { return c_->cap; }
  Expected<std::span<std::byte>> send_region(int p) override { std::unique_lock l(w_->m); w_->cv.wait(l, [&] { return w_->aborted || c_->finished[p] >= round_ - 1; }); if (w_->aborted) return Unexpected(w_->error); auto& b = c_->mem[(size_t(p) * c_->n + me_) * 2 + round_ % 2]; return std::span<std::byte>(b.data(), c_->cap); }
  Status post(int p, size_t bytes) override { std::unique_lock l(w_->m); w_->cv.wait(l, [&] { return w_->aborted || c_->finished[p] >= round_ - 1; }); if (w_->aborted) return Unexpected(w_->error); c_->sizes[(size_t(p) * c_->n + me_) * 2 + round_ % 2] = bytes; c_->posted[size_t(p) * c_->n + me_] = round_ + 1; w_->cv.notify_all(); return {}; }
  Expected<std::span<const std::byte>> wait(int p) override { std::unique_lock l(w_->m); w_->cv.wait(l, [&] { return w_->aborted || c_->posted[size_t(me_) * c_->n + p] > round_; }); if (w_->aborted) return Unexpected(w_->error); size_t i = (size_t(me_) * c_->n + p) * 2 + round_ % 2; return std::span<const std::byte>(c_->mem[i].data(), c_->sizes[i]); }
  Status wait_all() override { for (int p = 0; p < c_->n; ++p) WS_RETURN_IF_ERROR(wait(p)); return {}; }
  Status finish() override { std::unique_lock l(w_->m); c_->finished[me_] = ++round_; w_->cv.notify_all(); return {}; }
 private: std::shared_ptr<World> w_; std::shared_ptr<Chan> c_; int me_; int64_t round_ = 0; };
class G final : public Group { public:
  G(std::shared_ptr<World> w, int r) : w_(w), r_(r) {}
  int rank() const override { return r_; } int size() const override { return w_->n; } const char* transport() const override { return "loopback"; } int local_ranks() const override { return w_->n; }
  Expected<std::unique_ptr<Channel>> open_channel(size_t c, std::string) override { std::lock_guard l(w_->m); size_t i = k_++; if (w_->chans.size() <= i) w_->chans.push_back(std::make_shared<Chan>(w_->n, c)); return std::unique_ptr<Channel>(new Ch(w_, w_->chans[i], r_)); }
  Status barrier() override { return {}; } void set_progress(const Progress&) override {}
  void abort(const Error& e) override { std::lock_guard l(w_->m); if (!w_->aborted) { w_->aborted = true; w_->error = e; } w_->cv.notify_all(); }
 private: std::shared_ptr<World> w_; int r_; size_t k_ = 0; };
}
std::vector<std::unique_ptr<Group>> make_loopback(int n, const GroupOptions&) { auto w = std::make_shared<World>(); w->n = n; std::vector<std::unique_ptr<Group>> v; for (int i = 0; i < n; ++i) v.push_back(std::make_unique<G>(w, i)); return v; }
Status run_loopback(int n, const GroupOptions& o, const std::function<Status(Group&)>& body) { auto g = make_loopback(n, o); std::vector<Status> s(n); std::vector<std::thread> t; for (int i = 0; i < n; ++i) t.emplace_back([&, i] { s[i] = body(*g[i]); if (!s[i]) g[i]->abort(s[i].error()); }); for (auto& x : t) x.join(); for (auto& x : s) if (!x) return x; return {}; }
}
