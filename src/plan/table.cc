#include "plan/table.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace wingspan {
namespace {

constexpr size_t kMaxBytes = size_t{1} << 24;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), lower);
  return text;
}

struct Record {
  std::vector<std::string> cells;
  int line = 1;
};

// All records, blank lines left out.
Expected<std::vector<Record>> records_of(std::string_view text, const std::string& where) {
  std::vector<Record> out;
  Record record;
  record.cells.emplace_back();
  bool quoted = false;
  int line = 1;
  const auto finish = [&] {
    if (record.cells.size() > 1 || !record.cells[0].empty()) out.push_back(record);
    record = {{""}, line};
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c != '"') {
        record.cells.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        record.cells.back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      record.cells.emplace_back();
    } else if (c == '\n') {
      finish();
    } else if (c != '\r') {
      record.cells.back() += c;
    }
  }
  if (quoted) {
    return invalid_input("a quote is not closed",
                         where + ": record of line " + std::to_string(record.line));
  }
  finish();
  return out;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// "deepseek-r1" in "deepseek-v3 / r1": every word of it, in any place.
bool contains_words(const std::string& text, const std::string& words) {
  std::string word;
  bool any = false;
  for (const char c : words + " ") {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      word += c;
      continue;
    }
    if (!contains(text, word)) return false;
    any = any || !word.empty();
    word.clear();
  }
  return any;
}

}  // namespace

bool TableRow::has(const std::string& column) const { return !text(column).empty(); }

std::string TableRow::text(const std::string& column) const {
  const auto it = cells.find(column);
  return it == cells.end() ? "" : it->second;
}

Expected<double> TableRow::number(const std::string& column, double low, double high) const {
  const std::string cell = text(column);
  if (cell.empty()) return invalid_input("\"" + column + "\" is missing", where);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value)) {
    return invalid_input("\"" + column + "\" is not a number", where);
  }
  if (value < low || value > high) {
    return invalid_input("\"" + column + "\" is out of range", where);
  }
  return value;
}

Expected<double> TableRow::number_or(const std::string& column, double low, double high,
                                     double fallback) const {
  if (!has(column)) return fallback;
  return number(column, low, high);
}

Expected<std::vector<TableRow>> parse_csv(std::string_view text, const std::string& where) {
  if (text.size() > kMaxBytes) return invalid_input("the table is larger than 16 MiB", where);
  WS_ASSIGN(const std::vector<Record> records, records_of(text, where));
  if (records.empty()) return invalid_input("the table is empty", where);
  const std::vector<std::string>& head = records[0].cells;
  auto sorted = head;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return invalid_input("a column stands twice in the first line", where);
  }
  std::vector<TableRow> out;
  for (size_t i = 1; i < records.size(); ++i) {
    TableRow row;
    row.where = where + " line " + std::to_string(records[i].line);
    if (records[i].cells.size() != head.size()) {
      return invalid_input("the line has " + std::to_string(records[i].cells.size()) +
                               " cells, the first has " + std::to_string(head.size()),
                           row.where);
    }
    for (size_t c = 0; c < head.size(); ++c) row.cells[head[c]] = records[i].cells[c];
    out.push_back(std::move(row));
  }
  return out;
}

Expected<TableRow> find_row(const std::vector<TableRow>& rows, const std::string& column,
                            const std::string& name, const std::string& flag) {
  for (const TableRow& row : rows) {
    if (row.text(column) == name) return row;
  }
  const std::string wanted = lower_case(name);
  std::vector<const TableRow*> found;
  for (const auto matches : {contains, contains_words}) {
    if (!found.empty() || name.empty()) break;
    for (const TableRow& row : rows) {
      if (matches(lower_case(row.text(column)), wanted)) found.push_back(&row);
    }
  }
  if (found.size() == 1) return *found.front();
  const auto names = [](const std::vector<std::string>& of) {
    std::string all;
    for (const std::string& text : of) all += (all.empty() ? "" : ", ") + text;
    return all;
  };
  std::vector<std::string> texts;
  if (found.empty()) {
    for (const TableRow& row : rows) texts.push_back(row.text(column));
    return invalid_input("\"" + name + "\" is not known", flag, "known: " + names(texts));
  }
  for (const TableRow* row : found) texts.push_back(row->text(column));
  return invalid_input("\"" + name + "\" is part of several names", flag,
                       "one of: " + names(texts));
}

}  // namespace wingspan
