// Runs the program for what it prints with --json.
#pragma once

#include <gtest/gtest.h>

#include "base/json.h"
#include "support/process.h"

namespace wingspan::test {

inline Json run_json(std::vector<std::string> arguments) {
  arguments.push_back("--json");
  const Finished f = run_wingspan(std::move(arguments));
  EXPECT_EQ(f.exit_code, 0) << f.err;
  Json document = Json::parse(f.out, nullptr, false);
  EXPECT_FALSE(document.is_discarded()) << f.out;
  return document;
}

}  // namespace wingspan::test
