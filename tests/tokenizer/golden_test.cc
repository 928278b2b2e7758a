// Ids and texts of five published pipelines, as Hugging Face tokenizers makes them.
#include <gtest/gtest.h>

#include "base/json.h"
#include "support/paths.h"
#include "tokenizer/tokenizer.h"

namespace wingspan::test {
namespace {

class TokenizerGolden : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string directory = golden_path(std::string("tokenizers/") + GetParam());
    auto tokenizer = Tokenizer::load(real_files(), directory + "/tokenizer.json");
    ASSERT_TRUE(tokenizer) << tokenizer.error().message();
    tokenizer_.emplace(*std::move(tokenizer));
    const auto text = real_files().read_text(directory + "/golden.json", 1 << 26);
    ASSERT_TRUE(text);
    golden_ = Json::parse(*text);
  }
  std::optional<Tokenizer> tokenizer_;
  Json golden_;
};

using Ids = std::vector<int32_t>;

TEST_P(TokenizerGolden, StringsMatchToTheId) {
  ASSERT_GT(golden_["strings"].size(), 100U);
  for (const Json& c : golden_["strings"]) {
    const std::string text = c["text"];
    EXPECT_EQ(tokenizer_->encode(text, false).value(), c["ids"].get<Ids>()) << c["text"];
    const Ids ids = tokenizer_->encode(text, true).value();
    EXPECT_EQ(ids, c["ids_with_special"].get<Ids>()) << c["text"];
    EXPECT_EQ(tokenizer_->decode(ids, false).value(), c["decoded"].get<std::string>()) << c["text"];
    EXPECT_EQ(tokenizer_->decode(ids, true).value(), c["decoded_skip_special"].get<std::string>())
        << c["text"];
  }
}

TEST_P(TokenizerGolden, BytesThatAreNoText) {
  ASSERT_GT(golden_["bytes"].size(), 0U);
  for (const Json& c : golden_["bytes"]) {
    EXPECT_EQ(tokenizer_->decode(c["ids"].get<Ids>(), false).value(), c["text"].get<std::string>())
        << c["bytes_base64"];
  }
}

TEST_P(TokenizerGolden, StreamsAreNeverAheadAndComplete) {
  ASSERT_GT(golden_["streams"].size(), 0U);
  for (const Json& c : golden_["streams"]) {
    StreamDecoder decoder(*tokenizer_, true);
    std::string text, certain;
    const Ids ids = c["ids"];
    for (size_t i = 0; i < ids.size(); ++i) {
      text += decoder.push(ids[i]).value();
      certain += c["deltas"][i].get<std::string>();
      EXPECT_EQ(certain.compare(0, text.size(), text), 0)
          << "\"" << text << "\" is ahead of \"" << certain << "\"";
    }
    EXPECT_EQ(text + decoder.finish(), c["text"].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(Published, TokenizerGolden,
                         ::testing::Values("deepseek_v3", "llama3", "qwen2", "gpt_oss", "mixtral"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace wingspan::test
