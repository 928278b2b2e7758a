// CSV tables of the planner (RFC 4180: quotes, doubled quotes, line breaks inside quotes), and
// names matched as the command line promises.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace wingspan {

struct TableRow {
  std::string where;  // for errors: file and line
  std::map<std::string, std::string> cells;
  bool has(const std::string& column) const;  // there and not empty
  std::string text(const std::string& column) const;
  // Errors (kInvalidInput): missing, not a number, or outside [low, high].
  Expected<double> number(const std::string& column, double low, double high) const;
  Expected<double> number_or(const std::string& column, double low, double high,
                             double fallback) const;
};

// Errors (kInvalidInput) name `where` and the line: no header, a repeated column, a row of another
// width, an open quote, more than 16 MiB.
Expected<std::vector<TableRow>> parse_csv(std::string_view text, const std::string& where);

// The row whose `column` is `name`, or the only one that contains it whatever the case, or else the
// only one that contains its words ("deepseek-r1": "DeepSeek-V3 / R1"). Errors (kInvalidInput):
// none or several; both list names. `flag` goes into them.
Expected<TableRow> find_row(const std::vector<TableRow>& rows, const std::string& column,
                            const std::string& name, const std::string& flag);

}  // namespace wingspan
