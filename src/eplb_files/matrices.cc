#include "eplb_files/matrices.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "base/check.h"

namespace wingspan {
namespace {

constexpr size_t kMostJsonBytes = size_t{1} << 31;

Unexpected bad(const std::string& place, const std::string& what, const std::string& where) {
  return invalid_input(fmt::format("\"{}\" {}", place, what), where);
}

std::string shown(const Json& json) {
  return json.is_structured() ? json.type_name() : json.dump().substr(0, 40);
}

// A JSON value takes 16 bytes in its parent, a list or object some 64 more.
uint64_t parsed_bytes(std::string_view text) {
  uint64_t values = 0, containers = 0;
  for (const char c : text) {
    values += c == ',';
    containers += c == '[' || c == '{';
  }
  return 20 * (values + containers) + 64 * containers;
}

Status append(const Json& count, CountTable& table, const std::string& place, size_t row,
              const std::string& where) {
  const auto here = [&] {
    return fmt::format("{}[{}][{}]", place, row, table.size() % table.experts());
  };
  Status status;
  if (count.is_number_unsigned()) {
    const auto u = count.get<uint64_t>();
    if (u > static_cast<uint64_t>(INT64_MAX)) {
      return bad(here(), fmt::format("= {} overflows int64", u), where);
    }
    status = table.append(static_cast<int64_t>(u));
  } else if (count.is_number_integer()) {
    status = table.append(count.get<int64_t>());
  } else if (count.is_number_float()) {
    const auto d = count.get<double>();
    if (d >= 0x1p63) return bad(here(), fmt::format("= {} overflows int64", d), where);
    status = table.append(d);
  } else {
    return bad(here(), fmt::format("= {} is not a number", shown(count)), where);
  }
  if (!status) return bad(here(), "is invalid: " + status.error().what, where);
  return {};
}

Status check_size(size_t layers, size_t experts, const std::string& place,
                  const std::string& where) {
  if (layers == 0 || experts == 0) return bad(place, "is empty: zero layers or experts", where);
  if (layers > static_cast<size_t>(kMostLayers) || experts > static_cast<size_t>(kMostExperts)) {
    return bad(place, fmt::format("has {} layers of {} experts: too large", layers, experts),
               where);
  }
  return {};
}

}  // namespace

Expected<Json> parse_bounded_json(std::string_view text, const std::string& where) {
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    return invalid_input("the file is empty, not JSON", where);
  }
  const uint64_t need = parsed_bytes(text);
  if (need > 9 * uint64_t{text.size()} + (uint64_t{64} << 20)) {
    return invalid_input(fmt::format("its {} bytes of JSON would take {} MB when parsed: too many "
                                     "small values",
                                     text.size(), need >> 20),
                         where, "sum its steps, or give fewer");
  }
  return parse_json(text, where, {.max_bytes = kMostJsonBytes});
}

Expected<CountTable> count_table(const Json& json, const std::string& place,
                                 const std::string& where) {
  if (!json.is_array()) return bad(place, "is not a list of layers, each a list of counts", where);
  const size_t layers = json.size();
  if (layers == 0 || !json[0].is_array()) {
    return bad(place, "is not a matrix: [layers][experts] is expected", where);
  }
  const size_t experts = json[0].size();
  WS_RETURN_IF_ERROR(check_size(layers, experts, place, where));
  CountTable out(layers, experts);
  for (size_t row = 0; row < layers; ++row) {
    const std::string name = fmt::format("{}[{}]", place, row);
    if (!json[row].is_array()) return bad(name, "is not a row of counts", where);
    if (json[row].size() != experts) {
      return bad(name, fmt::format("has length {}, not {} experts", json[row].size(), experts),
                 where);
    }
    for (const Json& count : json[row]) {
      WS_RETURN_IF_ERROR(append(count, out, place, row, where));
    }
  }
  return out;
}

Expected<std::vector<CountTable>> count_tables(const Json& json, const std::string& place,
                                               const std::string& where) {
  if (!json.is_array() || json.empty() || !json[0].is_array() || json[0].empty()) {
    return bad(place, "has not 2 or 3 dimensions: [layers][experts] or [steps][layers][experts]",
               where);
  }
  std::vector<CountTable> out;
  if (!json[0][0].is_array()) {
    WS_ASSIGN(auto table, count_table(json, place, where));
    out.push_back(std::move(table));
    return out;
  }
  for (const Json& step : json) {
    WS_ASSIGN(auto table, count_table(step, fmt::format("{}[{}]", place, out.size()), where));
    if (!out.empty() &&
        (table.layers() != out[0].layers() || table.experts() != out[0].experts())) {
      return bad(place,
                 fmt::format("changes its shape at step {}: {} layers of {} experts, before {} of "
                             "{}",
                             out.size(), table.layers(), table.experts(), out[0].layers(),
                             out[0].experts()),
                 where);
    }
    out.push_back(std::move(table));
  }
  return out;
}

Expected<std::vector<CountTable>> count_tables(const TorchTensor& tensor, const std::string& place,
                                               const std::string& where) {
  const auto& shape = tensor.shape;
  if (shape.size() != 2 && shape.size() != 3) {
    return bad(place,
               fmt::format("has {} dimensions; its shape must be [layers][experts] or "
                           "[steps][layers][experts]",
                           shape.size()),
               where);
  }
  const size_t steps = shape.size() == 3 ? static_cast<size_t>(shape[0]) : 1;
  const auto layers = static_cast<size_t>(shape[shape.size() - 2]);
  const auto experts = static_cast<size_t>(shape.back());
  WS_RETURN_IF_ERROR(check_size(layers, experts, place, where));
  if (steps == 0) return bad(place, "is empty: it has no steps", where);
  std::vector<CountTable> out;
  size_t at = 0;
  for (size_t step = 0; step < steps; ++step) {
    CountTable table(layers, experts);
    for (size_t i = 0; i < layers * experts; ++i, ++at) {
      const Status status =
          tensor.is_real ? table.append(tensor.real[at]) : table.append(tensor.whole[at]);
      if (!status) {
        return bad(place,
                   fmt::format("is invalid at step {}, layer row {}, expert {}: {}", step,
                               i / experts, i % experts, status.error().what),
                   where);
      }
    }
    out.push_back(std::move(table));
  }
  return out;
}

Expected<std::vector<int>> id_row(const Json& json, const std::string& place,
                                  const std::string& where) {
  if (!json.is_array()) return bad(place, "is not a list of expert ids", where);
  std::vector<int> out;
  out.reserve(json.size());
  for (const Json& item : json) {
    const bool whole = item.is_number_integer();
    const bool small = whole && (item.is_number_unsigned()
                                     ? item.get<uint64_t>() < static_cast<uint64_t>(kMostExperts)
                                     : item.get<int64_t>() >= 0);
    if (!small) {
      return bad(fmt::format("{}[{}]", place, out.size()),
                 fmt::format("= {} is {}", shown(item),
                             whole ? "no expert: out of range" : "not an integer expert id"),
                 where);
    }
    out.push_back(item.get<int>());
  }
  return out;
}

Expected<std::vector<std::vector<int>>> id_rows(const Json& json, const std::string& place,
                                                const std::string& where) {
  if (!json.is_array()) return bad(place, "is not a list of layers", where);
  std::vector<std::vector<int>> out;
  for (const Json& row : json) {
    WS_ASSIGN(auto ids, id_row(row, fmt::format("{}[{}]", place, out.size()), where));
    out.push_back(std::move(ids));
  }
  WS_RETURN_IF_ERROR(check_one_length(out, place, where));
  return out;
}

Expected<std::vector<std::vector<int>>> id_rows(const TorchTensor& tensor, const std::string& place,
                                                const std::string& where) {
  if (tensor.shape.size() != 2 || tensor.is_real) {
    return bad(place, "is not a tensor of integers of shape [layers][slots]", where);
  }
  const auto rows = static_cast<size_t>(tensor.shape[0]);
  const auto width = static_cast<size_t>(tensor.shape[1]);
  std::vector<std::vector<int>> out(rows);
  for (size_t i = 0; i < tensor.whole.size(); ++i) {
    const int64_t id = tensor.whole[i];
    if (id < 0 || id >= kMostExperts) {
      return bad(place, fmt::format("names expert {} in layer row {}: out of range", id, i / width),
                 where);
    }
    out[i / width].push_back(static_cast<int>(id));
  }
  WS_RETURN_IF_ERROR(check_one_length(out, place, where));
  return out;
}

Status check_one_length(const std::vector<std::vector<int>>& rows, const std::string& place,
                        const std::string& where) {
  if (rows.empty() || rows[0].empty()) return bad(place, "is empty: no layers or slots", where);
  if (rows.size() > static_cast<size_t>(kMostLayers)) return bad(place, "is too large", where);
  for (size_t row = 1; row < rows.size(); ++row) {
    if (rows[row].size() == rows[0].size()) continue;
    return bad(place,
               fmt::format("has rows of different length: layer row {} has {} slots, row 0 has {}",
                           row, rows[row].size(), rows[0].size()),
               where);
  }
  return {};
}

int experts_named(const std::vector<std::vector<int>>& rows) {
  int most = 0;
  for (const auto& row : rows) most = std::max(most, *std::max_element(row.begin(), row.end()));
  return most + 1;
}

Expected<CountTable> to_experts(const CountTable& by_slot, const std::vector<std::vector<int>>& map,
                                int experts, const std::string& where) {
  WS_CHECK(by_slot.layers() == map.size(), "{} layers, {}", by_slot.layers(), map.size());
  const auto width = static_cast<size_t>(experts);
  CountTable out(map.size(), width);
  std::vector<int64_t> whole(width);
  std::vector<double> real(width);
  for (size_t l = 0; l < map.size(); ++l) {
    std::fill(whole.begin(), whole.end(), 0);
    std::fill(real.begin(), real.end(), 0.0);
    for (size_t s = 0; s < map[l].size(); ++s) {
      const auto e = static_cast<size_t>(map[l][s]);
      real[e] += by_slot.at(l, s);
      if (!by_slot.is_whole()) continue;
      if (__builtin_add_overflow(whole[e], by_slot.whole_at(l, s), &whole[e])) {
        return invalid_input(fmt::format("the counts of expert {} overflow int64", e), where);
      }
    }
    for (size_t e = 0; e < width; ++e) {
      if (Status s = by_slot.is_whole() ? out.append(whole[e]) : out.append(real[e]); !s) {
        return Unexpected(std::move(s).error());
      }
    }
  }
  return out;
}

std::vector<int> row_numbers(size_t rows) {
  std::vector<int> out(rows);
  std::iota(out.begin(), out.end(), 0);
  return out;
}

}  // namespace wingspan
