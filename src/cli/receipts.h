// Receipts: what an answer was made of, so that anybody can make it again and compare. One JSON
// object: format, model and its digest, numeric profile, prompt, parameters, seed, output, and the
// chained hash of the logits behind it.
#pragma once

#include "base/json.h"
#include "cli/session.h"
#include "engine/messages.h"

namespace wingspan {

// What is the same for all answers of one run.
struct ReceiptProfile {
  std::string model;    // its directory
  uint64_t digest = 0;  // model/digest.h
  std::string compute;  // "bf16", …
  int contract = 0;     // kNumericContractVersion
};
ReceiptProfile receipt_profile(const SessionSetup& setup);

struct Receipt {
  ReceiptProfile profile;
  std::string id;
  Request request;  // with its prompt
  RequestResult result;
};
OrderedJson receipt_to_json(const Receipt& receipt);
// Errors (kInvalidInput): another format or version, missing or wrong fields; `where` is the file.
Expected<Receipt> receipt_from_json(const Json& json, const std::string& where);

}  // namespace wingspan
