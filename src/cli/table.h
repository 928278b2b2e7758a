// Text tables for the terminal.
#pragma once

#include <string>
#include <vector>

namespace wingspan {

// Columns as wide as their widest cell (in code points); the first is left-aligned, the others
// right-aligned unless `left` names them. A line under the head.
class Table {
 public:
  explicit Table(std::vector<std::string> head, std::vector<size_t> left = {0});
  void add(std::vector<std::string> cells);  // as many as the head
  std::string text() const;
  const std::vector<std::string>& head() const { return head_; }
  const std::vector<std::vector<std::string>>& rows() const { return rows_; }
  bool left(size_t column) const;

 private:
  std::vector<std::string> head_;
  std::vector<size_t> left_;
  std::vector<std::vector<std::string>> rows_;
};

// The same as a Markdown table.
std::string markdown_table(const Table& table);

// 1234567 -> "1,234,567"; bytes -> "1.23 GB" (decimal units).
std::string with_commas(long long value);
std::string human_bytes(double bytes);
// 0.123 -> "+12.3 %".
std::string signed_percent(double share);
// A bar of `width` cells for a value in [0, 1].
std::string bar(double share, int width);

}  // namespace wingspan
