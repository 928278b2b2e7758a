// Each rule notices a small bad snippet and leaves a good one alone: a rule that never fails checks
// nothing.
#include "tidy/rules.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace wingspan::tidy {
namespace {

constexpr const char* kMapText =
    "# Architecture\n\n"
    "| module | may include |\n|---|---|\n"
    "| base | the standard library, fmt |\n"
    "| tensor, placement | base |\n"
    "| engine | base, tensor |\n"
    "| serve | base, `engine/messages.h` |\n"
    "| cli | everything |\n\n"
    "| header | only in |\n|---|---|\n"
    "| `fmt/` | everything |\n"
    "| `mpi.h` | `comm/mpi.cc` |\n"
    "| `CLI/`, `hwloc.h` | cli |\n";

using Text = std::pair<std::string, std::string>;

SourceTree tree_of(std::vector<Text> texts) {
  SourceTree tree;
  tree.files.push_back(make_file("docs/architecture.md", kMapText));
  for (auto& [path, text] : texts) tree.files.push_back(make_file(path, text));
  return tree;
}

std::string repeat(const std::string& text, int n) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}

size_t count(Findings (*rule)(const SourceTree&), const std::string& path,
             const std::string& text) {
  return rule(tree_of({{path, text}})).size();
}

TEST(IncludeRule, FollowsTheTable) {
  const auto count_in = [](const std::string& path, const std::string& name) {
    return count(check_module_includes, path, "#include \"" + name + "\"\n");
  };
  EXPECT_EQ(count_in("src/tensor/a.cc", "base/b.h"), 0U);
  EXPECT_EQ(count_in("src/tensor/a.cc", "tensor/b.h"), 0U);
  EXPECT_EQ(count_in("src/placement/a.cc", "tensor/b.h"), 1U);
  EXPECT_EQ(count_in("src/base/a.cc", "tensor/b.h"), 1U);
  EXPECT_EQ(count_in("src/serve/a.cc", "engine/messages.h"), 0U);
  EXPECT_EQ(count_in("src/serve/a.cc", "engine/engine.h"), 1U);
  EXPECT_EQ(count_in("src/cli/a.cc", "engine/engine.h"), 0U);
  EXPECT_EQ(count_in("src/cli/a.cc", "support/golden.h"), 1U);
  EXPECT_EQ(count_in("src/engine/a.cc", "engine.h"), 1U);
  EXPECT_EQ(count_in("src/unheard/a.cc", "base/b.h"), 1U);
  EXPECT_EQ(count(check_module_includes, "src/base/a.cc", "// #include \"cli/x.h\"\n"), 0U);
}

TEST(IncludeRule, ATableThatIsGoneIsAFinding) {
  SourceTree tree;
  tree.files.push_back(make_file("docs/architecture.md", "# Architecture\n"));
  EXPECT_EQ(check_module_includes(tree).size(), 1U);
  EXPECT_EQ(check_library_includes(tree).size(), 1U);
}

TEST(LibraryRule, EachLibraryHasItsDoor) {
  const auto count_in = [](const std::string& path, const std::string& name) {
    return count(check_library_includes, path, "#include <" + name + ">\n");
  };
  EXPECT_EQ(count_in("src/base/a.cc", "vector"), 0U);
  EXPECT_EQ(count_in("src/base/a.cc", "fmt/format.h"), 0U);
  EXPECT_EQ(count_in("src/comm/mpi.cc", "mpi.h"), 0U);
  EXPECT_EQ(count_in("src/comm/loopback.cc", "mpi.h"), 1U);
  EXPECT_EQ(count_in("src/cli/a.h", "CLI/CLI.hpp"), 0U);
  EXPECT_EQ(count_in("src/engine/a.h", "CLI/CLI.hpp"), 1U);
  EXPECT_EQ(count_in("src/engine/a.h", "boost/any.hpp"), 1U);
}

TEST(ColumnRule, CountsCharactersAndSeesTabs) {
  EXPECT_EQ(count(check_columns, "src/base/a.cc", std::string(100, 'x') + "\n"), 0U);
  EXPECT_EQ(count(check_columns, "src/base/a.cc", std::string(101, 'x') + "\n"), 1U);
  EXPECT_EQ(count(check_columns, "src/base/a.cc", "// " + repeat("µ", 97) + "\n"), 0U);
  EXPECT_EQ(count(check_columns, "src/base/a.cc", "\tint x;\n"), 1U);
  EXPECT_EQ(count(check_columns, "src/base/a.cc", "int x; \n"), 1U);
}

TEST(FunctionRule, FindsFunctionsByTheirBraces) {
  const SourceFile file = make_file("src/base/a.cc",
                                    "#define OPEN {\n"
                                    "namespace a {\n"
                                    "struct S : T<int> {\n"
                                    " public:\n"
                                    "  S()\n"
                                    "      : x_{1},\n"
                                    "        y_{2} {\n"
                                    "  }\n"
                                    "  int x_{0};\n"
                                    "};\n"
                                    "const int k[] = {1, 2};\n"
                                    "const char* brace = \"{ }\";  // {\n"
                                    "template <class F, int N = (1)>\n"
                                    "void f(F f, P p = {}) {\n"
                                    "  const auto g = [] { return X{1}; };\n"
                                    "  if (f) { g(); }\n"
                                    "}\n"
                                    "enum class E { kA };\n"
                                    "}\n");
  const auto found = functions(file);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(found[0].first, 5);
  EXPECT_EQ(found[0].last, 8);
  EXPECT_EQ(found[1].first, 13);
  EXPECT_EQ(found[1].last, 17);
}

TEST(FunctionRule, MeasuresThem) {
  const auto function = [](int lines) {
    return "void f() {\n" + repeat("  g();\n", lines - 2) + "}\n";
  };
  EXPECT_EQ(count(check_function_lengths, "src/base/a.cc", function(70)), 0U);
  EXPECT_EQ(count(check_function_lengths, "src/base/a.cc", function(71)), 1U);
  EXPECT_EQ(count(check_function_lengths, "src/kernels/a.cc", function(250)), 0U);
  EXPECT_EQ(count(check_function_lengths, "src/kernels/a.cc", function(251)), 1U);
  EXPECT_EQ(count(check_function_lengths, "tests/base/a.cc", function(71)), 1U);
}

TEST(FileLengthRule, CountsLines) {
  EXPECT_EQ(count(check_file_lengths, "src/base/a.cc", repeat("int x;\n", 500)), 0U);
  EXPECT_EQ(count(check_file_lengths, "src/base/a.cc", repeat("int x;\n", 501)), 1U);
}

TEST(OpenEndRule, WantsAnIssue) {
  const std::string word = std::string("TO") + "DO";
  EXPECT_EQ(count(check_open_ends, "src/base/a.cc", "// " + word + ": later\n"), 1U);
  EXPECT_EQ(count(check_open_ends, "docs/a.md", word + " later\n"), 1U);
  EXPECT_EQ(count(check_open_ends, "src/base/a.cc", "// " + word + "(#12): later\n"), 0U);
}

TEST(EnvironmentRule, HasOneDoor) {
  EXPECT_EQ(count(check_environment, "src/base/env.cc", "x = std::getenv(name);\n"), 0U);
  EXPECT_EQ(count(check_environment, "src/cli/a.cc", "x = std::getenv(name);\n"), 1U);
  EXPECT_EQ(count(check_environment, "src/cli/a.cc", "// no getenv here\n"), 0U);
}

TEST(QuietRule, LibrariesNeitherPrintNorExit) {
  const auto count_in = [](const std::string& path, const std::string& line) {
    return count(check_quiet_libraries, path, line + "\n");
  };
  EXPECT_EQ(count_in("src/base/a.cc", "  std::printf(\"x\");"), 1U);
  EXPECT_EQ(count_in("src/base/a.cc", "  fmt::print(\"x\");"), 1U);
  EXPECT_EQ(count_in("src/base/a.cc", "  std::cerr << x;"), 1U);
  EXPECT_EQ(count_in("src/base/a.cc", "  exit(1);"), 1U);
  EXPECT_EQ(count_in("src/base/a.cc", "  return abort();"), 1U);
  EXPECT_EQ(count_in("src/base/a.cc", "  ::exit(1);"), 1U);
  EXPECT_EQ(count_in("src/cli/a.cc", "  std::exit(1);"), 0U);
  EXPECT_EQ(count_in("src/base/a.cc", "  std::snprintf(out, n, \"x\");"), 0U);
  EXPECT_EQ(count_in("src/comm/a.cc", "  group.abort(error);"), 0U);
  EXPECT_EQ(count_in("src/comm/a.cc", "  abort(behind, lost);"), 0U);
  EXPECT_EQ(count_in("src/comm/a.cc", "  world_->abort(rank_, error);"), 0U);
  EXPECT_EQ(count_in("src/comm/a.h", "  void abort(const Error& error) override {"), 0U);
  EXPECT_EQ(count_in("src/comm/a.cc", "void LoopbackWorld::abort(int rank) {"), 0U);
}

TEST(GuardRule, HeadersBeginWithTheirPurpose) {
  EXPECT_EQ(count(check_header_guards, "src/base/a.h", "// What.\n#pragma once\nint x;\n"), 0U);
  EXPECT_EQ(count(check_header_guards, "src/base/a.h", "#pragma once\nint x;\n"), 1U);
  EXPECT_EQ(count(check_header_guards, "src/base/a.h", "// What.\nint x;\n"), 1U);
}

TEST(DeadFileRule, EveryFileIsUsed) {
  const Text header{"src/base/a.h", ""}, own{"src/base/a.cc", "#include \"base/a.h\"\n"};
  EXPECT_EQ(check_dead_files(tree_of({header, own})).size(), 1U);
  EXPECT_EQ(
      check_dead_files(tree_of({header, {"src/base/b.cc", "#include \"base/a.h\"\n"}})).size(), 0U);
  EXPECT_EQ(check_dead_files(tree_of({{"src/base/deep/c.cc", ""}})).size(), 1U);
  const Text cmake{"tests/CMakeLists.txt", "wingspan_tests(base LINK wingspan_base)\n"};
  EXPECT_EQ(check_dead_files(tree_of({cmake, {"tests/base/x_test.cc", ""}})).size(), 0U);
  EXPECT_EQ(check_dead_files(tree_of({cmake, {"tests/bas/x_test.cc", ""}})).size(), 1U);
  EXPECT_EQ(check_dead_files(tree_of({{"fuzz/json.cc", ""}})).size(), 1U);
}

TEST(PathRule, NoMachineIsNamed) {
  EXPECT_EQ(count(check_machine_paths, "docs/a.md", "see /work/notes\n"), 1U);
  EXPECT_EQ(count(check_machine_paths, "src/base/a.cc", "\"/tmp/x\"\n"), 1U);
  EXPECT_EQ(count(check_machine_paths, "docs/a.md", "build/work/x\n"), 0U);
}

TEST(DocRule, PagesNameWhatIsThere) {
  const auto count_in = [](const std::string& text) {
    return check_doc_references(tree_of({{"docs/a.md", text + "\n"},
                                         {"src/base/a.h", ""},
                                         {"tests/base/a_test.cc", "TEST(Json, Refuses) {\n}\n"}}))
        .size();
  };
  EXPECT_EQ(count_in("see `src/base/a.h`, `src/base` and `src/base/`"), 0U);
  EXPECT_EQ(count_in("see `src/base/b.h`"), 1U);
  EXPECT_EQ(count_in("see `src/bas`"), 1U);
  EXPECT_EQ(count_in("see `src/model/config_<family>.cc` and `src/kernels/*_ref.cc`"), 0U);
  EXPECT_EQ(count_in("held by `Json.Refuses`"), 0U);
  EXPECT_EQ(count_in("held by `Json.Accepts`"), 1U);
}

TEST(Blanking, LiteralsAndCommentsAreNotCode) {
  const SourceFile file =
      make_file("a.cc", "a = \"x\\\"y\"; // z\nb = R\"q(w)\" )q\"; /* c\nd */ e = 1'000 + '\"';\n");
  ASSERT_EQ(file.code.size(), 3U);
  EXPECT_EQ(file.code[0], "a = \"    \";     ");
  EXPECT_EQ(file.code[1].find('w'), std::string::npos);
  EXPECT_EQ(file.code[2].find('d'), std::string::npos);
  EXPECT_NE(file.code[2].find("e = 1'000 + ' ';"), std::string::npos);
}

}  // namespace
}  // namespace wingspan::tidy
