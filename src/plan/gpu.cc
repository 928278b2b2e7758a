#include "plan/gpu.h"

#include <cmath>

namespace wingspan {
namespace {

constexpr double kTera = 1e12, kGiga = 1e9;

// Text columns, and numbers that are only context.
constexpr const char* kColumns[] = {"gpu",
                                    "bf16_dense_tflops",
                                    "fp8_dense_tflops",
                                    "fp4_dense_tflops",
                                    "hbm_gb",
                                    "hbm_tb_s",
                                    "scaleup_uni_gb_s_per_gpu",
                                    "scaleup_bidir_gb_s_per_gpu",
                                    "scaleup_domain_gpus",
                                    "scaleout_uni_gb_s_per_gpu",
                                    "nic",
                                    "tdp_w",
                                    "all_in_kw_per_gpu",
                                    "usd_gpu_h_hyperscaler_tco",
                                    "usd_gpu_h_neocloud_tco",
                                    "usd_gpu_h_3yr_rental",
                                    "scaleup_usable_gb_s",
                                    "scaleup_pair_gb_s",
                                    "sfu_texp_s",
                                    "source",
                                    "notes"};

Status read_price(const TableRow& row, PlanGpu& g) {
  for (const char* column :
       {"usd_gpu_h_neocloud_tco", "usd_gpu_h_hyperscaler_tco", "usd_gpu_h_3yr_rental"}) {
    WS_ASSIGN(const double price, row.number_or(column, 0, 1e4, 0));
    if (g.usd_hour > 0 || price <= 0) continue;
    g.usd_hour = price;
    g.price_column = column;
  }
  return {};
}

// Exponentials per second where the column is empty: as measured on GPUs of the same shape.
Status read_exponentials(const TableRow& row, PlanGpu& g) {
  WS_ASSIGN(const double given, row.number_or("sfu_texp_s", 0.001, 1e6, 0));
  if (given > 0) {
    g.exponentials_per_s = given * kTera;
    return {};
  }
  if (g.fp4 > 2.5 * g.fp8) {
    g.exponentials_per_s = 9e12;
  } else if (g.blackwell) {
    g.exponentials_per_s = 4.5e12;
  } else {
    g.exponentials_per_s = g.bf16 < 300 * kTera ? 2.5e12 : 3.7e12;
  }
  g.derived += "exponential rate of the special function units taken from GPUs with like peaks; ";
  return {};
}

}  // namespace

Expected<PlanGpu> gpu_of_row(const TableRow& row) {
  PlanGpu g;
  g.name = row.text("gpu");
  if (g.name.empty()) return invalid_input("\"gpu\" is missing", row.where);
  WS_ASSIGN(const double bf16, row.number("bf16_dense_tflops", 0.001, 1e6));
  WS_ASSIGN(const double fp8, row.number_or("fp8_dense_tflops", 0.001, 1e6, 0));
  WS_ASSIGN(const double fp4, row.number_or("fp4_dense_tflops", 0.001, 1e6, 0));
  WS_ASSIGN(const double hbm, row.number("hbm_gb", 0.001, 1e5));
  WS_ASSIGN(const double bandwidth, row.number("hbm_tb_s", 1e-4, 1e4));
  WS_ASSIGN(const double up, row.number("scaleup_uni_gb_s_per_gpu", 0.001, 1e6));
  WS_ASSIGN(const double usable, row.number_or("scaleup_usable_gb_s", 0.001, 1e6, up));
  WS_ASSIGN(const double pair, row.number_or("scaleup_pair_gb_s", 0.001, 1e6, 0));
  WS_ASSIGN(g.scaleup_domain, row.number("scaleup_domain_gpus", 1, 1e6));
  WS_ASSIGN(const double out, row.number_or("scaleout_uni_gb_s_per_gpu", 0, 1e6, 0));
  WS_ASSIGN(g.watts, row.number_or("tdp_w", 0, 1e6, 0));
  WS_ASSIGN(g.all_in_kw, row.number_or("all_in_kw_per_gpu", 0, 1e4, 0));
  g.bf16 = bf16 * kTera;
  g.fp8 = fp8 * kTera;
  g.fp4 = fp4 * kTera;
  g.hbm_bytes = hbm * kGiga;
  g.hbm_bytes_per_s = bandwidth * kTera;
  g.scaleup_bytes_per_s = usable * kGiga;
  g.scaleup_nominal_bytes_per_s = up * kGiga;
  g.scaleup_pair_bytes_per_s = pair * kGiga;
  g.scaleout_bytes_per_s = out * kGiga;
  g.blackwell = fp4 > 0;
  WS_RETURN_IF_ERROR(read_exponentials(row, g));
  WS_RETURN_IF_ERROR(read_price(row, g));
  return g;
}

Expected<PlanGpu> gpu_of_json(const Json& json, const std::string& where) {
  WS_ASSIGN(const JsonObject o, JsonObject::from(json, where));
  TableRow row;
  row.where = where;
  for (const auto& [key, value] : json.items()) {
    bool known = false;
    for (const char* column : kColumns) known = known || key == column;
    if (!known) return invalid_input("unknown key \"" + key + "\"", where);
    if (value.is_null()) continue;
    if (value.is_string()) {
      row.cells[key] = value.get<std::string>();
    } else if (value.is_number()) {
      row.cells[key] = value.dump();
    } else {
      return o.bad(key, "must be a number or a text");
    }
  }
  return gpu_of_row(row);
}

}  // namespace wingspan
