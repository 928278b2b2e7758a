// A token as answers show it in log probabilities.
#pragma once

#include <cstdint>
#include <string>

#include "base/json.h"
#include "engine/messages.h"
#include "tokenizer/tokenizer.h"

namespace wingspan::serve {

// Its text; "bytes:\xe2\x96" where that is no UTF-8 by itself; "token_id:N" if asked for.
std::string token_text(const Tokenizer* tokenizer, int32_t token, bool as_id);
// Code points of a text.
int64_t text_length(const std::string& text);
// A float32 log probability as JSON: never NaN; −∞ is −9999.
OrderedJson logprob_json(float logprob);
// {"token","logprob","bytes"}
OrderedJson chat_logprob(const Tokenizer* tokenizer, int32_t token, float logprob, bool as_id);

}  // namespace wingspan::serve
