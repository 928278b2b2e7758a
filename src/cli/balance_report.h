// What `wingspan balance` shows: the table and the page.
#pragma once

#include <string>

#include "cli/balance_run.h"

namespace wingspan {

std::string balance_text(const BalanceResult& result);
std::string balance_html(const BalanceResult& result);

// Lines over a common x, for pages: values by series and position. `low` and `high` bound the y
// axis.
struct Curves {
  std::vector<std::string> names;
  std::vector<std::vector<double>> values;
  std::string x_name;
  double low = 0, high = 1;
};
std::string html_curves(const Curves& curves);

}  // namespace wingspan
