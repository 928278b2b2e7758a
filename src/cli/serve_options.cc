#include "cli/serve_options.h"

#include <sstream>

#include "base/files.h"

namespace wingspan {

void add_serve_options(CLI::App& app, ServeOptions& o) {
  add_model_options(app, o.model);
  app.add_option("--host", o.host, "address to listen on")->capture_default_str();
  app.add_option("--port", o.port, "port; 0: one that is free")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--served-model-name", o.names, "name of the model for clients (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--api-key", o.api_keys, "key that clients have to send (repeatable)")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  app.add_option("--api-key-file", o.api_key_file, "file with one key a line");
  app.add_option("--max-waiting", o.max_waiting, "requests that may wait; more are refused (429)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--kv-gb", o.kv_gb,
                 "KV cache of all ranks of this process; default: half of the "
                 "memory that the weights leave")
      ->check(CLI::Range(1e-4, 1e6));
  app.add_option("--max-model-len", o.max_model_len,
                 "most tokens of a prompt and its answer; default: the model's")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24));
  app.add_option(
         "--itl-target-ms", o.itl_target_ms,
         "read prompts in small parts, so that tokens of running answers keep this distance")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--queue-timeout-s", o.queue_timeout_s,
                 "a request that waits longer for its first row fails; 0: no limit")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option("--drain-s", o.drain_s, "time that running answers have after SIGTERM")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  app.add_option("--chat-template", o.chat_template, "Jinja template, instead of the model's");
  app.add_option("--receipts", o.receipts, "write a receipt of every answer there (JSON lines)");
  app.add_option("--audit-every", o.audit_every,
                 "compute every n-th step twice and compare all bits; 0: never")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  app.add_flag("--no-prefix-cache", o.no_prefix_cache, "read every prompt from its first token");
}

Expected<std::vector<std::string>> api_keys_of(const ServeOptions& o) {
  std::vector<std::string> keys = o.api_keys;
  if (!o.api_key_file.empty()) {
    WS_ASSIGN(const std::string text, real_files().read_text(o.api_key_file, 1 << 20));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      const size_t end = line.find_last_not_of(" \t\r");
      if (end == std::string::npos) continue;
      keys.push_back(line.substr(0, end + 1));
    }
    if (keys.empty()) return invalid_input("no key in the file", o.api_key_file, "one key a line");
  }
  for (const std::string& key : keys) {
    if (key.empty()) return invalid_input("the key is empty", "--api-key");
  }
  return keys;
}

}  // namespace wingspan
