// Matrices of counts and of expert ids out of JSON values and torch tensors.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "eplb_files/recorded.h"
#include "eplb_files/torch_file.h"

namespace wingspan {

// Refuses text whose parsed form would take far more memory than the text (10 × + 100 MB), then
// parses it, bounded as base/json.h says.
Expected<Json> parse_bounded_json(std::string_view text, const std::string& where);

// [layers][experts] of one step. `place` names it in errors ("load[3]").
Expected<CountTable> count_table(const Json& json, const std::string& place,
                                 const std::string& where);
// [layers][experts], or [steps][layers][experts]: one table a step, all of one shape.
Expected<std::vector<CountTable>> count_tables(const Json& json, const std::string& place,
                                               const std::string& where);
Expected<std::vector<CountTable>> count_tables(const TorchTensor& tensor, const std::string& place,
                                               const std::string& where);

// Rows of expert ids, [layers][slots], at least one of each, all of one length.
Expected<std::vector<std::vector<int>>> id_rows(const Json& json, const std::string& place,
                                                const std::string& where);
Expected<std::vector<std::vector<int>>> id_rows(const TorchTensor& tensor, const std::string& place,
                                                const std::string& where);
Expected<std::vector<int>> id_row(const Json& json, const std::string& place,
                                  const std::string& where);
// Error: rows of different length, naming the row.
Status check_one_length(const std::vector<std::vector<int>>& rows, const std::string& place,
                        const std::string& where);
// The largest id + 1.
int experts_named(const std::vector<std::vector<int>>& rows);

// Counts by slot to counts by expert: row by row through `map` [layers][slots], whose ids were
// checked to be below `experts`.
Expected<CountTable> to_experts(const CountTable& by_slot, const std::vector<std::vector<int>>& map,
                                int experts, const std::string& where);

// 0 … n−1
std::vector<int> row_numbers(size_t rows);

}  // namespace wingspan
