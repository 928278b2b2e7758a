// The table and the notes that the terminal and the page of a search share.
#pragma once

#include <string>
#include <vector>

#include "cli/plan_search_report.h"
#include "cli/table.h"

namespace wingspan {

// The recommended and the runner-up; `with_front`: and the Pareto front.
Table search_table(const SearchReport& report, bool with_front);
std::vector<std::string> search_notes(const SearchReport& report);

}  // namespace wingspan
