// What the post-processor adds around the ids of one text.
#pragma once

#include <cstdint>
#include <vector>

#include "base/json.h"

namespace wingspan {

class PostProcessor {
 public:
  // `parent`'s "post_processor": TemplateProcessing, ByteLevel and sequences of them; absent or
  // null: none. Errors: unknown kinds, a template that names an unknown special token or lacks the
  // text.
  static Expected<PostProcessor> parse(const JsonObject& parent);
  void apply(std::vector<int32_t>& ids) const;

 private:
  Status add(const JsonObject& json, int depth);
  Status add_template(const JsonObject& json);
  std::vector<int32_t> before_, after_;
};

}  // namespace wingspan
