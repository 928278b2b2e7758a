// The rules of style that a machine can check. Each is a pure function of the tree: it returns what
// breaks the rule, and the limits only ever get tighter.
#pragma once

#include "tidy/source_tree.h"

namespace wingspan::tidy {

constexpr int kMaxColumns = 100;
constexpr int kMaxFileLines = 500;
constexpr int kMaxFunctionLines = 70;
constexpr int kMaxKernelLines = 250;  // src/kernels: an unrolled tile reads better in one piece

// docs/architecture.md, tables "module | may include" and "header | only in".
Findings check_module_includes(const SourceTree& tree);
Findings check_library_includes(const SourceTree& tree);

Findings check_columns(const SourceTree& tree);  // C++: 100 columns, no tab, no space at the end
Findings check_function_lengths(const SourceTree& tree);
Findings check_file_lengths(const SourceTree& tree);
Findings check_open_ends(const SourceTree& tree);    // a to-do carries its issue: (#12)
Findings check_environment(const SourceTree& tree);  // read in base/env.cc only
Findings check_quiet_libraries(
    const SourceTree& tree);  // print and exit in cli only; base/check.cc stops
Findings check_header_guards(const SourceTree& tree);  // #pragma once after the contract's comment
Findings check_dead_files(const SourceTree& tree);     // included, compiled, run
Findings check_machine_paths(const SourceTree& tree);  // no path of the machine it was written on

// What pages put in backticks is there: paths, and tests by `Suite.Name`.
Findings check_doc_references(const SourceTree& tree);

}  // namespace wingspan::tidy
