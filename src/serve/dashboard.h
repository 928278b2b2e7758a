// The page at "/" and the figures behind it: what happened in each of the last seconds, and where
// the rows of the ranks are. Self-contained: the page loads nothing from other hosts.
#pragma once

#include <deque>
#include <map>
#include <mutex>
#include <vector>

#include "base/json.h"
#include "serve/answer.h"
#include "serve/http_server.h"

namespace wingspan::serve {

class Dashboard final : public AnswerObserver {
 public:
  // `next` gets all events too and outlives this.
  Dashboard(OrderedJson info, AnswerObserver& next);

  void on_report(const StepReport& report, int64_t now_ns);
  void on_first_token(double ttft_s, double queued_s) override;
  void on_next_token(double itl_s) override;
  void on_done(const Done& done) override;
  void on_record(const ChoiceRecord& record) override { next_.on_record(record); }

  // "/", "/v1/wingspan/stats".
  std::vector<Route> routes();
  OrderedJson stats() const;

 private:
  static constexpr size_t kSeconds = 300;
  static constexpr size_t kSamples = 1024;  // of the latest waits
  struct Second {
    int64_t second = 0;
    int64_t steps = 0, prompt_rows = 0, decode_rows = 0, tokens = 0;
    int64_t running = 0, waiting = 0;
    double kv_used = 0, step_s = 0;
    std::vector<int64_t> rank_rows;
  };
  Second& at(int64_t now_ns);
  static void keep(std::deque<double>& samples, double value);

  const OrderedJson info_;
  AnswerObserver& next_;
  mutable std::mutex mutex_;
  std::deque<Second> seconds_;
  std::deque<double> ttft_, itl_;
  std::map<std::string, int64_t> done_;
  StepReport latest_;
};

}  // namespace wingspan::serve
