// The rules held against the project itself.
#include <gtest/gtest.h>

#include <string>

#include "tidy/rules.h"

namespace wingspan::tidy {
namespace {

const SourceTree& project() {
  static const SourceTree tree = read_tree(WINGSPAN_SOURCE_DIR);
  return tree;
}

void expect_none(const Findings& findings) {
  std::string all;
  for (const Finding& f : findings) {
    all += "\n" + f.path + ":" + std::to_string(f.line) + ": " + f.what;
  }
  EXPECT_TRUE(findings.empty()) << all;
}

TEST(Style, TheTreeIsThere) {
  EXPECT_NE(project().find("docs/architecture.md"), nullptr);
  EXPECT_NE(project().find("src/base/status.h"), nullptr);
  EXPECT_NE(project().find("tests/tidy/rules.h"), nullptr);
  EXPECT_EQ(project().find("tests/goldens/wren/golden.json"), nullptr);
}

TEST(Style, ModulesIncludeWhatTheTableAllows) { expect_none(check_module_includes(project())); }
TEST(Style, LibrariesStayBehindTheirDoors) { expect_none(check_library_includes(project())); }
TEST(Style, LinesFit) { expect_none(check_columns(project())); }
TEST(Style, FunctionsAreShort) { expect_none(check_function_lengths(project())); }
TEST(Style, FilesAreShort) { expect_none(check_file_lengths(project())); }
TEST(Style, OpenEndsHaveIssues) { expect_none(check_open_ends(project())); }
TEST(Style, TheEnvironmentHasOneDoor) { expect_none(check_environment(project())); }
TEST(Style, LibrariesAreQuiet) { expect_none(check_quiet_libraries(project())); }
TEST(Style, HeadersSayWhatTheyAreFor) { expect_none(check_header_guards(project())); }
TEST(Style, NoFileIsDead) { expect_none(check_dead_files(project())); }
TEST(Style, NoMachineIsNamed) { expect_none(check_machine_paths(project())); }
TEST(Style, PagesNameWhatIsThere) { expect_none(check_doc_references(project())); }

}  // namespace
}  // namespace wingspan::tidy
