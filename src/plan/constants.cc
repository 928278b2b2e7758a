#include "plan/constants.h"

#include <set>

namespace wingspan {
namespace {

struct Field {
  const char* name;
  double PlanConstants::*member;
};

constexpr Field kFields[] = {
#define WINGSPAN_PLAN_CONSTANT(name) {#name, &PlanConstants::name},
#include "plan/constants.inc"
#undef WINGSPAN_PLAN_CONSTANT
};

}  // namespace

Expected<PlanConstants> parse_constants(const std::vector<TableRow>& rows,
                                        std::vector<ConstantNote>* notes) {
  PlanConstants out;
  std::set<std::string> seen;
  for (const TableRow& row : rows) {
    const std::string name = row.text("name");
    const Field* field = nullptr;
    for (const Field& f : kFields) {
      if (name == f.name) field = &f;
    }
    if (field == nullptr) return invalid_input("unknown constant \"" + name + "\"", row.where);
    if (!seen.insert(name).second) return invalid_input("\"" + name + "\" twice", row.where);
    WS_ASSIGN(const double value, row.number("value", 1e-9, 1e9));
    out.*(field->member) = value;
    if (notes != nullptr) {
      notes->push_back({name, row.text("unit"), row.text("error"), row.text("source"), value});
    }
  }
  for (const Field& f : kFields) {
    if (seen.count(f.name) == 0) return invalid_input("a constant is missing", f.name);
  }
  return out;
}

}  // namespace wingspan
