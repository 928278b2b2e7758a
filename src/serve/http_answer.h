// The bytes of answers: status line and header, events of a stream, and the JSON of errors.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/exchange.h"

namespace wingspan::serve {

// How an answer's end is told to the client.
struct AnswerFraming {
  bool http_1_0 = false;
  bool keep_alive = true;
  bool head_only = false;  // the answer to HEAD: the header of GET without its body
};

// The whole answer. A reason, a name or a value that holds what could end its line is cleaned.
std::string answer_bytes(const HttpResponse& response, const std::string& request_id,
                         const AnswerFraming& framing);
// The header of an event stream: chunked, or for HTTP/1.0 ended by the end of the connection.
std::string stream_header(const std::string& request_id, const AnswerFraming& framing);

// Appends the events, each "data: <text>\n\n", as one chunk (or without framing for HTTP/1.0). A
// line break in a text, which JSON allows between tokens only, becomes a blank: an event has one
// line. No events: nothing is appended.
void append_events(std::string& out, const std::vector<std::string>& data, bool chunked);
// "data: [DONE]\n\n", and the end of the body.
void append_stream_end(std::string& out, bool chunked);

// {"error":{"message","type","param","code"}} with `message` as reason phrase too: many clients
// keep only that. `type` "": what the OpenAI API has for the status. `param` is null where it is
// empty.
HttpResponse error_answer(int status, const std::string& message, const std::string& param = "",
                          const std::string& type = "");
// The same as one event of a stream that has begun.
std::string error_event(int status, const std::string& message, const std::string& type = "");

// The usual phrase of a status, e.g. "Not Found".
std::string_view status_phrase(int status);

}  // namespace wingspan::serve
