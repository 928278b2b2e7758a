// A steady decode step allocates nothing, on any rank. Every operator new of this test program is
// counted while the counter is switched on.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "engine/run_model.h"
#include "support/paths.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<int64_t> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1);
  void* p = alignment <= alignof(std::max_align_t)
                ? std::malloc(bytes)
                : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 1); }
void* operator new[](std::size_t bytes) { return counted(bytes, 1); }
void* operator new(std::size_t bytes, std::align_val_t a) {
  return counted(bytes, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t bytes, std::align_val_t a) {
  return counted(bytes, static_cast<std::size_t>(a));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace wingspan::test {
namespace {

class CountFromStep final : public RunSink {
 public:
  explicit CountFromStep(int64_t from, int64_t to) : from_(from), to_(to) {}
  void on_step(int64_t step) override {
    if (step == from_) counting = true;
    if (step == to_) counting = false;
  }

 private:
  int64_t from_, to_;
};

void expect_no_allocation(int ranks, int threads) {
  const std::string model = wren();
  auto config = read_model_config(real_files(), model);
  ASSERT_TRUE(config) << config.error().message();
  auto source = open_checkpoint_source(real_files(), model);
  ASSERT_TRUE(source) << source.error().message();
  auto host = load_model_host(*config, std::move(*source), ComputeMode::kBF16, 2, nullptr);
  ASSERT_TRUE(host) << host.error().message();
  EngineOptions options;
  options.join_rows = JoinRows::kAlways;  // small models would not
  options.kernels = *choose_kernels("auto");
  options.threads = threads;
  options.kv_tokens_per_rank = 1024;
  std::vector<Request> requests(4);
  for (Request& r : requests) {
    r.prompt = {0, 5, 9, 300};
    r.max_tokens = 100;
    r.sampling.temperature = 0.7;
    r.sampling.top_k = 20;
  }
  const Placement placement = make_placement(*config, ranks, PlacementKind::kContiguous);
  allocations = 0;
  // Steps 20 to 90 decode only, and cross a KV block.
  CountFromStep counter(20, 90);
  const Status status = run_loopback(ranks, {}, [&](Group& group) -> Status {
    WS_ASSIGN(auto engine, Engine::create(group, *host, placement, options, nullptr));
    RunSink silent;
    RunSink& sink = group.rank() == 0 ? static_cast<RunSink&>(counter) : silent;
    WS_ASSIGN(RunReport report, engine->run(requests, {}, sink));
    static_cast<void>(report);
    return {};
  });
  counting = false;
  ASSERT_TRUE(status) << status.error().message();
  EXPECT_EQ(allocations.load(), 0) << ranks << " ranks, " << threads << " threads";
}

TEST(Allocation, NoneInASteadyDecodeStep) {
  expect_no_allocation(1, 1);
  expect_no_allocation(1, 2);
  expect_no_allocation(4, 1);
}

TEST(Allocation, TheCounterCounts) {
  allocations = 0;
  counting = true;
  const auto p = std::make_unique<std::vector<int>>(100);
  counting = false;
  EXPECT_EQ(p->size(), 100U);
  EXPECT_GE(allocations.load(), 2);
}

}  // namespace
}  // namespace wingspan::test
