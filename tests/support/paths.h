// Where the tests find the project's files.
#pragma once

#include <string>

namespace wingspan::test {

std::string source_path(const std::string& relative);  // under the repository root
inline std::string wren() { return source_path("models/wren"); }
std::string golden_path(const std::string& relative);  // under tests/goldens
std::string temporary_directory();                     // new and empty, removed at exit

}  // namespace wingspan::test
