#include "serve/dashboard.h"

#include <algorithm>
#include <utility>

#include "serve/chart_js.h"
#include "serve/dashboard_html.h"

namespace wingspan::serve {
namespace {

OrderedJson percentiles(const std::deque<double>& samples) {
  if (samples.empty()) return nullptr;
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&](double p) {
    return sorted[static_cast<size_t>(p * static_cast<double>(sorted.size() - 1))] * 1e3;
  };
  return {{"p50", at(0.5)}, {"p95", at(0.95)}, {"p99", at(0.99)}};
}

// Mean over the most, 1 if nobody has any.
double balancedness(const std::vector<int64_t>& rows) {
  int64_t sum = 0, most = 0;
  for (const int64_t n : rows) {
    sum += n;
    most = std::max(most, n);
  }
  const auto ranks = static_cast<double>(rows.size());
  return most > 0 ? static_cast<double>(sum) / ranks / static_cast<double>(most) : 1;
}

}  // namespace

Dashboard::Dashboard(OrderedJson info, AnswerObserver& next)
    : info_(std::move(info)), next_(next) {}

Dashboard::Second& Dashboard::at(int64_t now_ns) {
  const int64_t second = now_ns / 1000000000;
  while (seconds_.empty() || seconds_.back().second < second) {
    // Seconds without a step are there too, so that time is even.
    Second next;
    next.second = seconds_.empty() || second - seconds_.back().second > 300
                      ? second
                      : seconds_.back().second + 1;
    if (!seconds_.empty()) {
      next.running = seconds_.back().running;
      next.waiting = seconds_.back().waiting;
      next.kv_used = seconds_.back().kv_used;
    }
    seconds_.push_back(std::move(next));
    if (seconds_.size() > kSeconds) seconds_.pop_front();
  }
  return seconds_.back();
}

void Dashboard::on_report(const StepReport& r, int64_t now_ns) {
  const std::lock_guard lock(mutex_);
  Second& s = at(now_ns);
  s.running = r.running;
  s.waiting = r.waiting;
  s.kv_used = r.kv_blocks > 0
                  ? static_cast<double>(r.kv_blocks_used) / static_cast<double>(r.kv_blocks)
                  : 0;
  for (const TokenEvent& event : r.tokens) s.tokens += event.prompt ? 0 : 1;
  latest_ = r;
  latest_.tokens.clear();
  if (r.prompt_rows + r.decode_rows == 0) return;
  ++s.steps;
  s.prompt_rows += r.prompt_rows;
  s.decode_rows += r.decode_rows;
  s.step_s += static_cast<double>(r.times.total_ns) * 1e-9;
  s.rank_rows.resize(r.rank_rows.size());
  for (size_t i = 0; i < r.rank_rows.size(); ++i) s.rank_rows[i] += r.rank_rows[i];
}

void Dashboard::keep(std::deque<double>& samples, double value) {
  samples.push_back(value);
  if (samples.size() > kSamples) samples.pop_front();
}

void Dashboard::on_first_token(double ttft_s, double queued_s) {
  {
    const std::lock_guard lock(mutex_);
    keep(ttft_, ttft_s);
  }
  next_.on_first_token(ttft_s, queued_s);
}

void Dashboard::on_next_token(double itl_s) {
  {
    const std::lock_guard lock(mutex_);
    keep(itl_, itl_s);
  }
  next_.on_next_token(itl_s);
}

void Dashboard::on_done(const Done& done) {
  {
    const std::lock_guard lock(mutex_);
    ++done_[done.finish];
  }
  next_.on_done(done);
}

OrderedJson Dashboard::stats() const {
  const std::lock_guard lock(mutex_);
  OrderedJson series = OrderedJson::array();
  for (const Second& s : seconds_) {
    series.push_back({{"second", s.second},
                      {"steps", s.steps},
                      {"prompt_rows", s.prompt_rows},
                      {"decode_rows", s.decode_rows},
                      {"tokens", s.tokens},
                      {"running", s.running},
                      {"waiting", s.waiting},
                      {"kv_used", s.kv_used},
                      {"step_ms", s.steps > 0 ? s.step_s / static_cast<double>(s.steps) * 1e3 : 0},
                      {"balancedness", balancedness(s.rank_rows)},
                      {"rank_rows", s.rank_rows}});
  }
  return {{"server", info_},
          {"step", latest_.step},
          {"epoch", latest_.epoch},
          {"running", latest_.running},
          {"waiting", latest_.waiting},
          {"kv_blocks_used", latest_.kv_blocks_used},
          {"kv_blocks", latest_.kv_blocks},
          {"preemptions", latest_.preemptions},
          {"prefix_cache", {{"queries", latest_.cache_queries}, {"hits", latest_.cache_hits}}},
          {"ended", done_},
          {"ttft_ms", percentiles(ttft_)},
          {"itl_ms", percentiles(itl_)},
          {"series", series}};
}

std::vector<Route> Dashboard::routes() {
  const auto page = [](const HttpRequest&, const std::shared_ptr<Responder>& reply) {
    HttpResponse response;
    response.content_type = "text/html; charset=utf-8";
    response.body = kDashboardHtml;
    const std::string mark = "/*chart.js*/";
    const size_t place = response.body.find(mark);
    response.body.replace(place, mark.size(), kChartJs);
    reply->reply(std::move(response));
  };
  const auto figures = [this](const HttpRequest&, const std::shared_ptr<Responder>& reply) {
    HttpResponse response;
    response.body = stats().dump();
    reply->reply(std::move(response));
  };
  return {{"GET", "/", page, true, true, false},
          {"GET", "/v1/wingspan/stats", figures, true, false, false}};
}

}  // namespace wingspan::serve
