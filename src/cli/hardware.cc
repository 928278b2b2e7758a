#include "cli/hardware.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include "cli/hardware_csv.h"

namespace wingspan {
namespace {

// Cells of one line; a cell in quotes may hold commas and doubled quotes.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += line[++i];
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else {
      cells.back() += c;
    }
  }
  return cells;
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

std::vector<Hardware> read_table() {
  std::istringstream text(kHardwareCsv);
  std::string line;
  std::getline(text, line);
  const auto head = cells_of(line);
  const auto column =
      static_cast<size_t>(std::find(head.begin(), head.end(), "hbm_gb") - head.begin());
  std::vector<Hardware> out;
  while (std::getline(text, line)) {
    const auto cells = cells_of(line);
    if (column >= cells.size() || cells[0].empty()) continue;
    std::istringstream number(cells[column]);
    Hardware h{cells[0], 0};
    if (number >> h.memory_gb) out.push_back(h);
  }
  return out;
}

}  // namespace

const std::vector<Hardware>& known_hardware() {
  static const std::vector<Hardware> table = read_table();
  return table;
}

Expected<Hardware> find_hardware(const std::string& name) {
  std::vector<Hardware> found;
  std::string names;
  for (const Hardware& h : known_hardware()) {
    names += (names.empty() ? "" : ", ") + h.name;
    if (lower(h.name) == lower(name)) return h;
    if (!name.empty() && lower(h.name).rfind(lower(name), 0) == 0) found.push_back(h);
  }
  if (found.size() == 1) return found.front();
  return invalid_input(found.empty() ? "unknown hardware \"" + name + "\""
                                     : "\"" + name + "\" is the beginning of several names",
                       "--hardware", "use one of: " + names);
}

}  // namespace wingspan
