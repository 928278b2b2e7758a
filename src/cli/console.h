// The terminal: results on stdout, everything else on stderr.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <thread>

#include "base/json.h"
#include "base/status.h"
#include "model/weights.h"

namespace wingspan {

// Whether a write to stdout failed since nobody reads it any more: the end of `wingspan … | head`.
bool reader_is_gone();
// Writes to stdout. Error (kIo): a full disk or a closed pipe; ask at the latest in flush_out().
Status print_out(std::string_view text);
Status flush_out();
// One JSON document and a line end. Text that is not UTF-8 is replaced, never an error.
Status print_json(const OrderedJson& document);
// A line of progress or a note on stderr; nothing after quiet_notes().
void note(std::string_view text);
void quiet_notes();
// Whether stderr is a terminal, so that a moving bar makes sense.
bool stderr_is_terminal();
bool stdout_is_terminal();

// Draws how much of the weights is loaded while it lives; nothing where stderr is no terminal.
class LoadBar {
 public:
  explicit LoadBar(const LoadProgress& progress);
  ~LoadBar();
  LoadBar(const LoadBar&) = delete;
  LoadBar& operator=(const LoadBar&) = delete;

 private:
  void draw();
  const LoadProgress& progress_;
  std::atomic<bool> done_{false};
  std::thread thread_;
};

}  // namespace wingspan
