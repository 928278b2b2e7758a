#include "cli/console.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <system_error>

namespace wingspan {
namespace {

spdlog::logger& log() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("wingspan",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    return made;
  }();
  return *logger;
}

bool reader_left = false;

Status out_error() {
  reader_left |= errno == EPIPE;
  return io_error(fmt::format("writing failed: {}", std::strerror(errno)), "stdout",
                  "check the disk or the program that reads it");
}

}  // namespace

bool reader_is_gone() { return reader_left; }

Status print_out(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return {};
  return out_error();
}

Status flush_out() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return {};
  return out_error();
}

Status print_json(const OrderedJson& document) {
  WS_RETURN_IF_ERROR(
      print_out(document.dump(-1, ' ', false, OrderedJson::error_handler_t::replace) + "\n"));
  return flush_out();
}

void note(std::string_view text) { log().info("{}", text); }
void quiet_notes() { log().set_level(spdlog::level::off); }
bool stderr_is_terminal() { return ::isatty(2) == 1; }
bool stdout_is_terminal() { return ::isatty(1) == 1; }

LoadBar::LoadBar(const LoadProgress& progress) : progress_(progress) {
  if (!stderr_is_terminal()) return;
  try {
    thread_ = std::thread([this] {
      while (!done_.load()) {
        draw();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
      }
    });
  } catch (const std::system_error&) {
    // Without a thread to spare there is no bar.
  }
}

LoadBar::~LoadBar() {
  done_ = true;
  if (!thread_.joinable()) return;
  thread_.join();
  std::fputs("\r\033[K", stderr);
}

void LoadBar::draw() {
  const auto total = static_cast<double>(progress_.bytes_total.load());
  const auto done = static_cast<double>(progress_.bytes_done.load());
  const double share = total > 0 ? std::min(1.0, done / total) : 0;
  constexpr int kWidth = 30;
  const int full = static_cast<int>(share * kWidth);
  fmt::print(stderr, "\rloading weights [{}{}] {:3.0f} %  {:.2f} GB", std::string(full, '#'),
             std::string(kWidth - full, '.'), share * 100, done * 1e-9);
  std::fflush(stderr);
}

}  // namespace wingspan
