#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace wingspan {
namespace {

size_t code_points(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

}  // namespace

Table::Table(std::vector<std::string> head, std::vector<size_t> left)
    : head_(std::move(head)), left_(std::move(left)) {}

void Table::add(std::vector<std::string> cells) {
  WS_CHECK(cells.size() == head_.size(), "{} cells, {} columns", cells.size(), head_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::text() const {
  std::vector<size_t> width(head_.size());
  const auto widen = [&](const std::vector<std::string>& cells) {
    for (size_t i = 0; i < cells.size(); ++i) width[i] = std::max(width[i], code_points(cells[i]));
  };
  widen(head_);
  for (const auto& row : rows_) widen(row);
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text;
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string space(width[i] - code_points(cells[i]), ' ');
      text += (i > 0 ? "  " : "") + (left(i) ? cells[i] + space : space + cells[i]);
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  line(head_);
  std::vector<std::string> rule;
  for (const size_t w : width) {
    std::string dashes;
    for (size_t i = 0; i < w; ++i) dashes += "─";
    rule.push_back(dashes);
  }
  line(rule);
  for (const auto& row : rows_) line(row);
  return out;
}

bool Table::left(size_t column) const {
  return std::find(left_.begin(), left_.end(), column) != left_.end();
}

std::string markdown_table(const Table& table) {
  const auto line = [](const std::vector<std::string>& cells) {
    std::string out = "|";
    for (const std::string& cell : cells) {
      out += ' ';
      for (const char c : cell) {
        if (c == '|') out += '\\';
        out += c;
      }
      out += " |";
    }
    return out + "\n";
  };
  std::vector<std::string> rule;
  for (size_t i = 0; i < table.head().size(); ++i) rule.push_back(table.left(i) ? "---" : "---:");
  std::string out = line(table.head()) + line(rule);
  for (const auto& row : table.rows()) out += line(row);
  return out;
}

std::string with_commas(long long value) {
  std::string digits = std::to_string(value < 0 ? -value : value);
  for (auto at = static_cast<long>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return (value < 0 ? "-" : "") + digits;
}

std::string human_bytes(double bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  while (bytes >= 999.5 && unit + 1 < std::size(units)) {
    bytes /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{:.0f} B", bytes);
  return fmt::format("{:.{}f} {}", bytes, bytes < 9.995 ? 2 : bytes < 99.95 ? 1 : 0, units[unit]);
}

std::string signed_percent(double share) { return fmt::format("{:+.1f} %", 100 * share); }

std::string bar(double share, int width) {
  const char* parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const double clamped = std::clamp(share, 0.0, 1.0);
  const int eighths = static_cast<int>(std::lround(clamped * width * 8));
  std::string out;
  for (int i = 0; i < eighths / 8; ++i) out += "█";
  return out + parts[eighths % 8];
}

}  // namespace wingspan
