// The whole matrix of exactness on the trained model, as a user runs it.
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/paths.h"
#include "support/process.h"

namespace wingspan::test {
namespace {

void expect_exact(const std::string& model, const std::string& compute, size_t configurations,
                  const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"verify", "--model", model, "--compute", compute, "--json"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const Finished f = run_wingspan(arguments, 500);
  ASSERT_EQ(f.exit_code, 0) << f.err;
  const Json out = Json::parse(f.out);
  EXPECT_EQ(out["differing_bits"], 0);
  EXPECT_GT(out["configurations"].size(), configurations);
}

TEST(WholeMatrix, Wren) {
  expect_exact(wren(), "bf16", 210, {"--ep", "1,2,3,5,8,32,64", "--full"});
}
TEST(WholeMatrix, TinyModelInFloat32) {
  expect_exact(golden_path("models/deepseek_v2_lite"), "f32", 25, {"--ep", "2,5,32"});
}
TEST(WholeMatrix, TinyModelInFp8) {
  expect_exact(golden_path("models/deepseek_v3_fp8"), "fp8", 25, {"--ep", "2,5,32"});
}

}  // namespace
}  // namespace wingspan::test
