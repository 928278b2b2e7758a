// The server's metrics, under the names that dashboards, routers and autoscalers of the field know,
// and our own. All names are there from the start.
#pragma once

#include <memory>
#include <string>

#include "serve/answer.h"
#include "serve/engine_port.h"

namespace wingspan::serve {

// Updated on the text thread; text() from any thread.
class Metrics final : public AnswerObserver {
 public:
  Metrics(const std::string& model_name, const StepLimits& limits);
  ~Metrics() override;

  void on_report(const StepReport& report);
  void on_first_token(double ttft_s, double queued_s) override;
  void on_next_token(double itl_s) override;
  void on_done(const Done& done) override;
  void on_record(const ChoiceRecord& record) override;
  // Receipts of all answers go there, one a line, if set.
  void keep_records(std::function<void(const ChoiceRecord&)> keep);

  // text/plain; version=0.0.4
  std::string text(const EnginePort::Snapshot& now, int64_t now_ns) const;
  static constexpr const char* kContentType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace wingspan::serve
