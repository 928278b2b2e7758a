#pragma once
#include <cstdint>
#include <span>
#include <vector>
#include "base/status.h"
namespace wingspan {
struct SchedulerLimits { int ranks = 1; int max_sequences_per_rank = 64; int64_t prefill_chunk = 512, max_rows_per_rank = 0, kv_blocks_per_rank = 0; int kv_block = 64; int64_t max_positions = 0; };
struct RequestShape { int64_t prompt_tokens = 0, max_new_tokens = 0; };
struct StepItem { int request = 0; int64_t first_position = 0, rows = 0; bool emits = false; };
struct StepPlan { std::vector<std::vector<StepItem>> ranks; };
class Scheduler {
 public:
  explicit Scheduler(const SchedulerLimits& l) : l_(l), free_(l.ranks), running_(l.ranks) { for (auto& f : free_) for (int64_t b = l.kv_blocks_per_rank; b > 0; --b) f.push_back(int32_t(b - 1)); }
  Expected<int> add(const RequestShape& s) { seqs_.push_back({s, -1, 0, 0, false, {}}); return int(seqs_.size()) - 1; }
  bool done() const { for (auto& s : seqs_) if (!s.finished) return false; return true; }
  void plan_step(StepPlan& out) {
    while (next_ < seqs_.size()) { auto& s = seqs_[next_]; size_t need = size_t((s.shape.prompt_tokens + s.shape.max_new_tokens + 63) / 64); int best = -1;
      for (int r = 0; r < l_.ranks; ++r) if (int(running_[r].size()) < l_.max_sequences_per_rank && free_[r].size() >= need && (best < 0 || free_[r].size() > free_[best].size())) best = r;
      if (best < 0) break; s.rank = best; for (size_t i = 0; i < need; ++i) { s.blocks.push_back(free_[best].back()); free_[best].pop_back(); } running_[best].push_back(int(next_)); ++next_; }
    out.ranks.resize(l_.ranks);
    for (int r = 0; r < l_.ranks; ++r) { auto& v = out.ranks[r]; v.clear(); int64_t rows = 0, pre = 0;
      for (int q : running_[r]) { auto& s = seqs_[q]; if (s.done_pos >= s.shape.prompt_tokens) { v.push_back({q, s.done_pos, 1, true}); ++rows; } }
      for (int q : running_[r]) { auto& s = seqs_[q]; if (s.done_pos < s.shape.prompt_tokens) { int64_t n = std::min({s.shape.prompt_tokens - s.done_pos, l_.prefill_chunk - pre, l_.max_rows_per_rank - rows}); if (n <= 0) break; v.push_back({q, s.done_pos, n, s.done_pos + n == s.shape.prompt_tokens && s.shape.max_new_tokens > 0}); rows += n; pre += n; } } } }
  void finish(int q) { seqs_[q].finished = true; }
  void commit(const StepPlan& p) { for (auto& v : p.ranks) for (auto& i : v) { auto& s = seqs_[i.request]; s.done_pos = i.first_position + i.rows; if (s.shape.max_new_tokens == 0 && s.done_pos == s.shape.prompt_tokens) s.finished = true; if (s.finished) { auto& r = running_[s.rank]; for (size_t k = 0; k < r.size(); ++k) if (r[k] == i.request) { r.erase(r.begin() + k); break; } for (auto b : s.blocks) free_[s.rank].push_back(b); } } }
  const std::vector<int32_t>& block_table(int q) const { return seqs_[q].blocks; }
 private:
  struct S { RequestShape shape; int rank; int64_t done_pos, x; bool finished; std::vector<int32_t> blocks; };
  SchedulerLimits l_; std::vector<std::vector<int32_t>> free_; std::vector<std::vector<int>> running_; std::vector<S> seqs_; size_t next_ = 0;
};
}
