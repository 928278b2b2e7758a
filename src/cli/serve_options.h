// The options of wingspan serve.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/session.h"

namespace wingspan {

struct ServeOptions {
  ModelOptions model;
  std::string host = "127.0.0.1";
  int port = 8000;
  std::vector<std::string> names;     // --served-model-name
  std::vector<std::string> api_keys;  // --api-key
  std::string api_key_file;
  int64_t max_waiting = 1024;
  double kv_gb = 0;            // of all ranks of this process; 0: what memory allows
  int64_t max_model_len = 0;   // 0: the model's, as far as the KV cache holds it
  double itl_target_ms = 0;    // 0: prompts are read as fast as they come
  double queue_timeout_s = 0;  // 0: no limit
  double drain_s = 30;
  std::string chat_template, receipts;
  int64_t audit_every = 0;
  bool no_prefix_cache = false;
};

void add_serve_options(CLI::App& app, ServeOptions& options);
// --api-key and the lines of --api-key-file. Error: an empty key, an unreadable or empty file.
Expected<std::vector<std::string>> api_keys_of(const ServeOptions& options);

}  // namespace wingspan
