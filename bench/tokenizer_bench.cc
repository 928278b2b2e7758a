// Encoding speed on English text and on texts that a careless tokenizer takes quadratic time for.
#include <benchmark/benchmark.h>

#include "base/rng.h"
#include "tokenizer/tokenizer.h"

namespace wingspan {
namespace {

const Tokenizer& wren() {
  static const Tokenizer tokenizer = *Tokenizer::load(real_files(), "models/wren/tokenizer.json");
  return tokenizer;
}

// Words of English frequency: short ones often.
std::string english(size_t bytes) {
  const char* words[] = {"the",   "of",       "and",    "to",      "in",       "a",     "is",
                         "that",  "for",      "it",     "as",      "was",      "with",  "be",
                         "by",    "on",       "not",    "he",      "his",      "but",   "at",
                         "are",   "this",     "have",   "from",    "or",       "had",   "an",
                         "they",  "which",    "one",    "you",     "were",     "all",   "her",
                         "would", "there",    "their",  "we",      "him",      "been",  "has",
                         "when",  "who",      "will",   "no",      "more",     "if",    "out",
                         "said",  "question", "answer", "morning", "together", "house", "captain"};
  Rng rng(1);
  std::string text;
  while (text.size() < bytes) {
    const uint64_t a = rng.below(std::size(words)), b = rng.below(std::size(words));
    text += words[std::min(a, b)];
    text += rng.below(12) == 0 ? ". " : rng.below(80) == 0 ? "\n\n" : " ";
    if (rng.below(40) == 0) text += std::to_string(rng.below(100000)) + " ";
  }
  return text;
}

void encode(benchmark::State& state, const std::string& text) {
  for (auto _ : state) benchmark::DoNotOptimize(wren().encode(text, false));
  state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * text.size()));
}

void English(benchmark::State& state) {
  encode(state, english(static_cast<size_t>(state.range(0))));
}
BENCHMARK(English)->Arg(1 << 12)->Arg(1 << 16)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

void OneLetter(benchmark::State& state) {
  encode(state, std::string(static_cast<size_t>(state.range(0)), 'e'));
}
BENCHMARK(OneLetter)->Arg(1 << 18)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

void Spaces(benchmark::State& state) {
  encode(state, std::string(static_cast<size_t>(state.range(0)), ' '));
}
BENCHMARK(Spaces)->Arg(1 << 18)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

void RandomLetters(benchmark::State& state) {
  Rng rng(2);
  std::string text(static_cast<size_t>(state.range(0)), 'a');
  for (char& c : text) c = static_cast<char>('a' + rng.below(26));
  encode(state, text);
}
BENCHMARK(RandomLetters)->Arg(1 << 18)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

void Punctuation(benchmark::State& state) {
  encode(state, std::string(static_cast<size_t>(state.range(0)), '!'));
}
BENCHMARK(Punctuation)->Arg(1 << 18)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

void Newlines(benchmark::State& state) {
  encode(state, std::string(static_cast<size_t>(state.range(0)), '\n'));
}
BENCHMARK(Newlines)->Arg(1 << 18)->Arg(1 << 20)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace wingspan
