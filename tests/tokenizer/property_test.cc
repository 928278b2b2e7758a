// What must hold for any text, and for any tokenizer.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "base/rng.h"
#include "support/paths.h"
#include "support/rounds.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace wingspan::test {
namespace {

Json file_of(const std::string& name) {
  const auto text =
      real_files().read_text(golden_path("tokenizers/" + name + "/tokenizer.json"), 1 << 26);
  return Json::parse(*text);
}

Tokenizer tokenizer_of(const std::string& name) {
  return *Tokenizer::load(real_files(), golden_path("tokenizers/" + name + "/tokenizer.json"));
}

// Any code points but surrogates; spaces, digits and letters more often.
std::string random_text(Rng& rng) {
  std::string text;
  const uint64_t length = rng.below(60);
  for (uint64_t i = 0; i < length; ++i) {
    uint32_t c = 0;
    switch (rng.below(6)) {
      case 0:
        c = " \n\t\r"[rng.below(4)];
        break;
      case 1:
        c = 0x4E00 + static_cast<uint32_t>(rng.below(2000));
        break;
      case 2:
        c = static_cast<uint32_t>(rng.below(0x110000));
        if (c >= 0xD800 && c < 0xE000) c = 'x';
        break;
      default:
        c = 0x21 + static_cast<uint32_t>(rng.below(0x5E));
    }
    text += utf8::encode(c);
  }
  return text;
}

TEST(TokenizerProperty, ByteLevelRoundTripsAndStreamsAgree) {
  for (const char* name : {"deepseek_v3", "llama3", "gpt_oss"}) {
    const Tokenizer tokenizer = tokenizer_of(name);
    for (uint64_t seed = 0; seed < 300; ++seed) {
      SCOPED_TRACE(fmt::format("{} seed {}", name, seed));
      Rng rng(seed);
      const std::string text = random_text(rng);
      const auto ids = tokenizer.encode(text, false);
      ASSERT_TRUE(ids) << ids.error().message();
      EXPECT_EQ(tokenizer.decode(*ids, false).value(), text);
      StreamDecoder stream(tokenizer, false);
      std::string streamed;
      for (const int32_t id : *ids) {
        const std::string delta = stream.push(id).value();
        EXPECT_EQ(utf8::find_invalid(delta), std::string::npos);
        streamed += delta;
      }
      EXPECT_EQ(streamed + stream.finish(), text);
    }
  }
}

TEST(TokenizerProperty, AnyIdsDecodeToUtf8TheSameWayAtOnceAndInPieces) {
  for (const char* name : {"deepseek_v3", "mixtral", "qwen2"}) {
    const Tokenizer tokenizer = tokenizer_of(name);
    for (uint64_t seed = 0; seed < 300; ++seed) {
      SCOPED_TRACE(fmt::format("{} seed {}", name, seed));
      Rng rng(seed);
      std::vector<int32_t> ids;
      for (uint64_t n = rng.below(40); n > 0; --n) {
        ids.push_back(
            static_cast<int32_t>(rng.below(static_cast<uint64_t>(tokenizer.vocab_size()))));
      }
      const std::string whole = tokenizer.decode(ids, true).value();
      EXPECT_EQ(utf8::find_invalid(whole), std::string::npos);
      StreamDecoder stream(tokenizer, true);
      std::string streamed;
      for (const int32_t id : ids) streamed += stream.push(id).value();
      EXPECT_EQ(streamed + stream.finish(), whole);
    }
  }
}

// A megabyte without a place to cut must come back whole; a quadratic tokenizer would not end in
// the time limit.
TEST(TokenizerProperty, AMegabyteWithoutASpace) {
  for (const char* name : {"deepseek_v3", "mixtral"}) {
    const Tokenizer tokenizer = tokenizer_of(name);
    Rng rng(3);
    for (const char* alphabet : {"e", " ", "\n", "7", "!", "abcdefghijklmnopqrstuvwxyz"}) {
      const std::string letters = alphabet;
      std::string text;
      for (int i = 0; i < rounds(1'000'000); ++i) text += letters[rng.below(letters.size())];
      const auto ids = tokenizer.encode(text, false);
      ASSERT_TRUE(ids);
      EXPECT_EQ(tokenizer.decode(*ids, false).value(), text) << name << " of \"" << letters << "\"";
    }
  }
}

TEST(TokenizerErrors, TextThatIsNotUtf8AndIdsOutside) {
  const Tokenizer tokenizer = tokenizer_of("llama3");
  for (const char* text : {"\xff", "ab\xc3", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"}) {
    const auto ids = tokenizer.encode(text, false);
    ASSERT_FALSE(ids) << text;
    EXPECT_NE(ids.error().message().find("UTF-8 at byte"), std::string::npos);
  }
  EXPECT_FALSE(tokenizer.decode(std::vector<int32_t>{-1}, false));
  EXPECT_FALSE(tokenizer.decode(std::vector<int32_t>{tokenizer.vocab_size()}, false));
}

struct Change {
  const char* name;
  const char* path;
  const char* value;
  const char* says;
};
void PrintTo(const Change& c, std::ostream* out) { *out << c.name; }

class TokenizerLies : public ::testing::TestWithParam<Change> {};

TEST_P(TokenizerLies, AreNamed) {
  const Change& c = GetParam();
  Json json = file_of("deepseek_v3");
  json[Json::json_pointer(c.path)] = Json::parse(c.value);
  const auto tokenizer = Tokenizer::parse(json.dump(), "t.json");
  ASSERT_FALSE(tokenizer);
  EXPECT_EQ(tokenizer.error().exit_code(), 2);
  EXPECT_NE(tokenizer.error().message().find(c.says), std::string::npos)
      << tokenizer.error().message();
}

INSTANTIATE_TEST_SUITE_P(
    All, TokenizerLies,
    ::testing::Values(
        Change{"Model", "/model/type", "\"Unigram\"", "Unigram"},
        Change{"NoVocab", "/model/vocab", "[]", "vocab"},
        Change{"EmptyVocab", "/model/vocab", "{}", "vocab"},
        Change{"VocabId", "/model/vocab/!", "-1", "!"},
        Change{"HugeId", "/model/vocab/!", "2147483647", "!"},
        Change{"SameId", "/model/vocab/!", "1", "another token"},
        Change{"Merges", "/model/merges", "7", "merges"},
        Change{"MergeUnknown", "/model/merges/0", "[\"zzzz\",\"qqqq\"]", "merges"},
        Change{"MergeShape", "/model/merges/0", "[\"a\"]", "merges"},
        Change{"MergeText", "/model/merges/0", "\"a b c\"", "merges"},
        Change{"Dropout", "/model/dropout", "0.1", "dropout"},
        Change{"Subword", "/model/continuing_subword_prefix", "\"##\"",
               "continuing_subword_prefix"},
        Change{"Unknown", "/model/unk_token", "\"nope\"", "unk_token"},
        Change{"Normalizer", "/normalizer", "{\"type\":\"Lowercase\"}", "Lowercase"},
        Change{"PreTokenizer", "/pre_tokenizer/pretokenizers/0", "{\"type\":\"Whitespace\"}",
               "Whitespace"},
        Change{"Regex", "/pre_tokenizer/pretokenizers/0/pattern/Regex", "\"(\"", "compile"},
        Change{"Behavior", "/pre_tokenizer/pretokenizers/0/behavior", "\"Random\"", "Random"},
        Change{"Decoder", "/decoder", "{\"type\":\"WordPiece\"}", "WordPiece"},
        Change{"PostProcessor", "/post_processor", "{\"type\":\"BertProcessing\"}",
               "BertProcessing"},
        Change{"Template", "/post_processor/single", "[]", "single"},
        Change{"TemplateToken", "/post_processor/single/0/SpecialToken/id", "\"<none>\"", "<none>"},
        Change{"AddedId", "/added_tokens/0/id", "0", "added_tokens[0]"},
        Change{"AddedTwice", "/added_tokens/0/id", "1501", "1501"},
        Change{"AddedText", "/added_tokens/0/content", "7", "content"},
        Change{"AddedEmpty", "/added_tokens/0/content", "\"\"", "content"}),
    [](const auto& test) { return test.param.name; });

TEST(TokenizerErrors, DeepNestingAndDamage) {
  Json step = {{"type", "NFC"}};
  for (int i = 0; i < 20; ++i) step = {{"type", "Sequence"}, {"normalizers", {step}}};
  Json json = file_of("deepseek_v3");
  json["normalizer"] = step;
  EXPECT_FALSE(Tokenizer::parse(json.dump(), "t.json"));
  const std::string good = file_of("mixtral").dump();
  for (uint64_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    Rng rng(seed);
    std::string text = good;
    for (int i = 0; i < 3; ++i) {
      text[static_cast<size_t>(rng.below(3000))] = static_cast<char>(32 + rng.below(90));
    }
    const auto tokenizer = Tokenizer::parse(text, "t.json");
    EXPECT_TRUE(!tokenizer || tokenizer->encode("a b", true));
  }
}

}  // namespace
}  // namespace wingspan::test
