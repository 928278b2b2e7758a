#include "cli/plan_inputs.h"

#include <iostream>
#include <iterator>

#include "base/files.h"
#include "cli/hardware_csv.h"
#include "cli/measurements_csv.h"
#include "cli/models_csv.h"
#include "cli/plan_constants_csv.h"

namespace wingspan {
namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 24;

bool looks_like_path(const std::string& name) {
  return real_files().exists(name) ||
         (name.size() > 5 && name.compare(name.size() - 5, 5, ".json") == 0);
}

Expected<Json> read_json(const std::string& path) {
  WS_ASSIGN(const std::string text, real_files().read_text(path, kMostBytes));
  return parse_json(text, path);
}

Expected<std::string> read_stdin() {
  std::string text;
  char block[4096];
  while (std::cin.read(block, sizeof block) || std::cin.gcount() > 0) {
    text.append(block, static_cast<size_t>(std::cin.gcount()));
    if (text.size() > kMostBytes) return invalid_input("more than 16 MiB", "stdin");
  }
  return text;
}

}  // namespace

Expected<PlanModel> plan_model(const std::string& name) {
  if (looks_like_path(name)) {
    const std::string path = real_files().is_directory(name) ? name + "/config.json" : name;
    WS_ASSIGN(const Json json, read_json(path));
    return model_of_config(json, path);
  }
  WS_ASSIGN(const auto rows, parse_csv(kModelsCsv, "data/models.csv"));
  WS_ASSIGN(const TableRow row, find_row(rows, "model", name, "--model"));
  return model_of_row(row);
}

const std::vector<TableRow>& hardware_rows() {
  static const std::vector<TableRow> rows =
      parse_csv(kHardwareCsv, "data/hardware.csv").value_or(std::vector<TableRow>{});
  return rows;
}

Expected<PlanGpu> plan_gpu(const std::string& name) {
  if (looks_like_path(name)) {
    WS_ASSIGN(const Json json, read_json(name));
    return gpu_of_json(json, name);
  }
  WS_ASSIGN(const TableRow row, find_row(hardware_rows(), "gpu", name, "--hardware"));
  return gpu_of_row(row);
}

Expected<std::vector<TableRow>> measurement_rows() {
  return parse_csv(kMeasurementsCsv, "data/measurements.csv");
}

Expected<PlanConstants> plan_constants(const std::string& path, std::vector<ConstantNote>* notes) {
  std::string text = kPlanConstantsCsv;
  const std::string where = path.empty() ? "data/plan_constants.csv" : path;
  if (!path.empty()) {
    WS_ASSIGN(text, real_files().read_text(path, kMostBytes));
  }
  WS_ASSIGN(const auto rows, parse_csv(text, where));
  return parse_constants(rows, notes);
}

Status use_dtypes(const std::string& name, const PlanModel& model, const PlanGpu& gpu,
                  PlanScenario& s) {
  const bool mxfp4 = model.name.find("gpt-oss") != std::string::npos;
  std::string dtype = name;
  if (dtype == "auto") dtype = gpu.fp4 > 0 || mxfp4 ? "fp4" : gpu.fp8 > 0 ? "fp8" : "bf16";
  if (dtype == "fp8" && gpu.fp8 <= 0) {
    return invalid_input(gpu.name + " has no FP8 units", "--dtype", "use bf16 or auto");
  }
  s.attention = dtype == "bf16" || mxfp4 ? PlanDType::kBf16 : PlanDType::kFp8;
  s.kv = dtype == "bf16" || gpu.fp8 <= 0 ? PlanDType::kBf16 : PlanDType::kFp8;
  s.combine = PlanDType::kBf16;
  if (dtype == "fp4") {
    s.experts = mxfp4 ? PlanDType::kMxfp4 : PlanDType::kNvfp4;
    s.dispatch = gpu.fp4 > 0 && !mxfp4 ? PlanDType::kNvfp4 : PlanDType::kFp8;
  } else {
    s.experts = s.dispatch = dtype == "fp8" ? PlanDType::kFp8 : PlanDType::kBf16;
  }
  return {};
}

Expected<ScenarioInput> plan_scenario(const std::string& path, const PlanModel& model) {
  const std::string where = path == "-" ? "stdin" : path;
  std::string text;
  if (path == "-") {
    WS_ASSIGN(text, read_stdin());
  } else {
    WS_ASSIGN(text, real_files().read_text(path, kMostBytes));
  }
  WS_ASSIGN(const Json json, parse_json(text, where));
  ScenarioInput out;
  WS_ASSIGN(out.scenario, parse_scenario(json, where, model, &out.assumptions));
  return out;
}

}  // namespace wingspan
