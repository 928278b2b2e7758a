// The header of a request, parsed by Beast and then held to our own rules.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "serve/http_reader.h"

namespace wingspan::serve {

// `header` ends with its empty line. The error says what was wrong; the connection can't go on.
tl::expected<RequestHead, HttpProblem> parse_head(std::string_view header,
                                                  const ReaderLimits& limits);

// "%41" becomes "A"; false where a "%" isn't followed by two hexadecimal digits.
bool percent_decode(std::string_view text, std::string& out);

// Whether an x-request-id may be echoed and logged: 1 to 128 letters, digits and "-_.:/+=@".
bool good_request_id(std::string_view id);

}  // namespace wingspan::serve
