// Chat templates, rendered by Jinja2 itself in a helper process: the templates of the field use all
// of it. The helper gets no file and no network from a template (Jinja2's sandbox), has limits on
// memory and time, and is started anew after a template that hangs or dies, which costs one
// request.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/json.h"
#include "base/status.h"
#include "tokenizer/text_model.h"

namespace wingspan::serve {

struct TemplateLimits {
  double seconds = 5;                          // of one rendering
  int64_t memory_bytes = int64_t{512} << 20;   // of the helper
  int64_t max_text_bytes = int64_t{16} << 20;  // of a request or a text
  // Tried in order: Debian's python3-jinja2 is for its own python3, whatever else is in PATH.
  std::vector<std::string> pythons = {"/usr/bin/python3", "python3"};
};

// The helper process. Thread-safe: one request at a time.
class TemplateWorker {
 public:
  explicit TemplateWorker(TemplateLimits limits);
  ~TemplateWorker();
  // {"template","kwargs"} -> the answer (template_worker.py). Error (kFailed): no python3 or no
  // jinja2 (says what to install), a helper that hung or died, a limit.
  Expected<Json> ask(const OrderedJson& request);

 private:
  struct Process;
  Status start();
  Status start(std::string python);
  TemplateLimits limits_;
  std::mutex mutex_;
  std::unique_ptr<Process> process_;
};

// A model's template with the variables that it is always given.
class ChatTemplate {
 public:
  // From `file` if given, else chat_template.jinja, else tokenizer_config.json of `directory`. A
  // model without one has an empty template. Errors (kInvalidInput): unreadable files, wrong types.
  static Expected<ChatTemplate> load(const Files& files, const std::string& directory,
                                     const std::string& file);
  bool empty() const { return source_.empty(); }
  const std::string& source() const { return source_; }

  struct Rendered {
    std::string text;
    std::vector<TextRange> user;  // what came from messages' contents: its marks are text
  };
  // `kwargs`: further variables. Errors: kInvalidInput with the template's own words if it refuses
  // the messages; kFailed as for TemplateWorker::ask.
  Expected<Rendered> render(TemplateWorker& worker, const OrderedJson& messages,
                            const OrderedJson& kwargs, bool add_generation_prompt,
                            bool continue_final_message) const;
  // The prompt's ids. BOS is added only where the tokenizer does so and the template has not.
  static Expected<std::vector<int32_t>> encode(const TextModel& model, const Rendered& rendered);

 private:
  Expected<bool> wants_parts(TemplateWorker& worker) const;
  std::string source_;
  OrderedJson variables_ = OrderedJson::object();  // bos_token, eos_token, …
  // Found once, by the first request.
  std::shared_ptr<std::optional<bool>> parts_ = std::make_shared<std::optional<bool>>();
  std::shared_ptr<std::mutex> mutex_ = std::make_shared<std::mutex>();
};

}  // namespace wingspan::serve
