#include "cli/balance_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "cli/lists.h"
#include "eplb/robust.h"
#include "model/config.h"
#include "model/weight_source.h"

namespace wingspan {
namespace {

Unexpected bad_flag(std::string what, const char* flag, std::string fix = "") {
  return invalid_input(std::move(what), flag, std::move(fix));
}

// The first layer that only one of the lists has, or −1.
int odd_layer(const std::vector<int>& in, const std::vector<int>& from) {
  const auto odd = std::find_if(in.begin(), in.end(), [&](int layer) {
    return std::find(from.begin(), from.end(), layer) == from.end();
  });
  return odd == in.end() ? -1 : *odd;
}

// The running placement, the load and the options have to be of one model and group.
Status check_same_model(const RecordedPlacement& current, const RecordedLoad& load,
                        const BalanceOptions& o) {
  const auto differ = [&](const std::string& what) {
    return invalid_input(what, fmt::format("{} and {}", o.current, o.load),
                         "give the placement and the load of the same model");
  };
  if (current.experts != load.experts) {
    return differ(
        fmt::format("the placement has {} experts, the load {}", current.experts, load.experts));
  }
  const int ranks =
      current.ranks != 0 ? current.ranks : static_cast<int>(current.rank_slots.size());
  if (ranks != 0 && ranks != o.ranks) {
    return invalid_input(fmt::format("has {} ranks, --ranks is {}", ranks, o.ranks), o.current,
                         fmt::format("give --ranks {}, or the placement that runs", ranks));
  }
  const auto layers = [&](const char* who, int layer) {
    return differ(fmt::format("the placement has {} layers, the load {}: only the {} has layer {}",
                              current.layers.size(), load.layers.size(), who, layer));
  };
  if (const int odd = odd_layer(load.layers, current.layers); odd >= 0) return layers("load", odd);
  if (const int odd = odd_layer(current.layers, load.layers); odd >= 0) {
    return layers("placement", odd);
  }
  if (current.layers.size() != load.layers.size()) {
    return differ(fmt::format("the placement has {} layers, the load {}: one has a layer twice",
                              current.layers.size(), load.layers.size()));
  }
  return {};
}

// Rules 1 and 2 for what other engines wrote; the shape must be the topology's.
Status check_current(const RecordedPlacement& current, const Topology& t, const BalanceOptions& o) {
  const auto bad = [&](const std::string& what, const std::string& fix = "") {
    return invalid_input(what, o.current, fix);
  };
  const bool grouped = current.nodes > 1 || current.groups > 1;
  if (grouped && (current.nodes != o.nodes || current.groups != o.groups)) {
    return bad(fmt::format("has {} nodes and {} groups, --nodes is {} and --groups {}",
                           current.nodes, current.groups, o.nodes, o.groups),
               fmt::format("give --nodes {} --groups {}", current.nodes, current.groups));
  }
  if (!current.rank_slots.empty() && current.rank_slots != t.rank_slots) {
    return bad("its ranks have other slots than those asked for",
               "give --slots or --rank-slots as it has them");
  }
  for (size_t l = 0; l < current.layers.size(); ++l) {
    const auto& slots = current.slot_to_expert[l];
    if (slots.size() != static_cast<size_t>(t.slots())) {
      return bad(
          fmt::format("layer {} has {} slots, not {}", current.layers[l], slots.size(), t.slots()),
          "give --slots as the placement has them");
    }
    std::vector<bool> seen(static_cast<size_t>(t.experts));
    for (const int expert : slots) {
      if (expert >= t.experts) {
        return bad(
            fmt::format("layer {} names expert {}, out of range", current.layers[l], expert));
      }
      seen[static_cast<size_t>(expert)] = true;
    }
    const auto missing = std::find(seen.begin(), seen.end(), false);
    if (missing != seen.end()) {
      return bad(fmt::format("expert {} of layer {} has no slot (it is missing)",
                             missing - seen.begin(), current.layers[l]));
    }
  }
  return {};
}

// The running placement's layers in the order of the load's.
Expected<Placement> align_current(const RecordedPlacement& current, const Topology& t,
                                  const RecordedLoad& load, const BalanceOptions& o) {
  WS_RETURN_IF_ERROR(check_current(current, t, o));
  Placement out;
  out.epoch = current.epoch;
  out.model = current.model;
  out.topology = t;
  for (const int layer : load.layers) {
    const auto at = std::find(current.layers.begin(), current.layers.end(), layer);
    const auto row = static_cast<size_t>(at - current.layers.begin());
    out.layers.push_back({layer, current.slot_to_expert[row]});
  }
  return out;
}

Status price_from_model(const BalanceOptions& o, const RecordedLoad& load, MovePrice& price) {
  WS_ASSIGN(const ModelConfig config, read_model_config(real_files(), o.model));
  if (config.moe.router.experts != load.experts) {
    return invalid_input(fmt::format("the model has {} experts, the load {}",
                                     config.moe.router.experts, load.experts),
                         fmt::format("{} and {}", o.model, o.load), "give the model of the load");
  }
  // Engines record the experts of MTP layers too, or not.
  const auto layers = static_cast<int64_t>(config.moe_layers().size());
  const auto recorded = static_cast<int64_t>(load.layers.size());
  if (recorded < layers || recorded > layers + config.mtp_layers) {
    return invalid_input(
        fmt::format("the model has {} layers with experts, the load {}", layers, recorded),
        fmt::format("{} and {}", o.model, o.load), "give the model of the load");
  }
  DType dtype = config.fp8_blocks ? DType::kF8E4M3 : DType::kBF16;
  if (const auto source = open_checkpoint_source(real_files(), o.model)) {
    if (const auto found = (*source)->dtype(layer_tensors(config, 0).back())) dtype = *found;
  }
  price.expert_bytes = expert_checkpoint_bytes(config, dtype);
  price.top_k = config.moe.router.top_k;
  return {};
}

Expected<MovePrice> price_of(const BalanceOptions& o, const RecordedLoad& load) {
  MovePrice price = o.price;
  if (!o.model.empty()) WS_RETURN_IF_ERROR(price_from_model(o, load, price));
  if (o.expert_bytes) price.expert_bytes = *o.expert_bytes;
  if (o.top_k) price.top_k = *o.top_k;
  return price;
}

Expected<std::vector<LayerPlan>> make_plans(const BalanceOptions& o, const RecordedLoad& recorded,
                                            const BalanceResult& result,
                                            const PlanOptions& options) {
  const Topology& t = result.placement.topology;
  auto plans = plan_layers(t, result.load, options);
  if (o.windows != "robust" || recorded.windows.size() < 2) return plans;
  for (size_t l = 0; l < plans.size(); ++l) {
    LoadMatrix windows;
    for (const RecordedWindow& window : recorded.windows) {
      std::vector<double> row(static_cast<size_t>(recorded.experts));
      for (size_t e = 0; e < row.size(); ++e) row[e] = window.counts.at(l, e);
      windows.push_back(std::move(row));
    }
    plans[l].slot_to_expert = robust_layer(t, windows, plans[l].slot_to_expert, options);
  }
  return plans;
}

void report_all(BalanceResult& result, const std::vector<LayerPlan>& plans) {
  const Topology& t = result.placement.topology;
  for (size_t l = 0; l < plans.size(); ++l) {
    const auto& slots = result.placement.layers[l].slot_to_expert;
    double bound = plans[l].lower_bound;
    result.reports.push_back(report_plan(t, slots, result.load[l], bound));
    if (!result.current) continue;
    const auto& before = result.current->layers[l].slot_to_expert;
    result.current_reports.push_back(report_plan(t, before, result.load[l], bound));
    int batch = 0;
    for (const LayerMoves& earlier : result.moves) {
      for (const Move& move : earlier.moves) batch = std::max(batch, move.batch + 1);
    }
    result.moves.push_back(
        {result.placement.layers[l].layer, order_moves(t, before, slots, batch)});
    result.moved_slots += static_cast<int64_t>(result.moves.back().moves.size());
  }
}

std::string fresh_reason(const BalanceOptions& o, const BalanceResult& result,
                         const RecordedLoad& recorded) {
  const Topology& t = result.placement.topology;
  double max = 0, bound = 0;
  for (const LayerReport& report : result.reports) {
    max += report.max_rank_load;
    bound += report.lower_bound;
  }
  std::string out = fmt::format(
      "new {} placement of {} experts in {} slots on {} ranks for {} {}: sum of max rank loads "
      "{:.6g}, {:.2f} % above the proven bound",
      t.grouped() ? "grouped" : "flat", t.experts, t.slots(), t.ranks(),
      o.objective == "activated" ? "activated experts in" : "the tokens of",
      recorded.windows.size() == 1
          ? "one window"
          : fmt::format("{} windows ({})", recorded.windows.size(), o.windows),
      max, bound > 0 ? 100 * (max / bound - 1) : 0.0);
  if (o.nodes > 1 && !t.grouped()) {
    out += fmt::format("; {} groups are not divisible by {} nodes, so groups are not kept on nodes",
                       o.groups, o.nodes);
  }
  return out;
}

Status apply_change(const BalanceOptions& o, const PlanOptions& plan, const MovePrice& price,
                    const std::vector<LayerPlan>& plans, BalanceResult& result) {
  ChangeOptions options;
  options.plan = plan;
  options.move_budget = o.move_budget;
  options.price = price;
  std::vector<std::vector<int>> current;
  for (const LayerPlacement& layer : result.current->layers) {
    current.push_back(layer.slot_to_expert);
  }
  auto change = choose_change(result.placement.topology, result.load, current, plans, options);
  if (!change) {
    return failed(
        "the running placement breaks rule 3 or 4, and mending it takes more moves than "
        "the budget",
        "--move-budget", "raise the budget");
  }
  for (size_t l = 0; l < plans.size(); ++l) {
    result.placement.layers.push_back(
        {result.current->layers[l].layer, std::move(change->slot_to_expert[l])});
  }
  result.frontier = std::move(change->frontier);
  result.reason = std::move(change->reason);
  result.placement.epoch = result.current->epoch + (change->moved_slots > 0 ? 1 : 0);
  return {};
}

Expected<std::vector<int>> even_sizes(const BalanceOptions& o, int64_t slots) {
  if (slots > kMaxPlacementSlots) {
    return bad_flag(
        fmt::format("{} slots are more than the limit of {}: too large", slots, kMaxPlacementSlots),
        o.slots ? "--slots" : "--redundant");
  }
  if (slots % o.ranks != 0) {
    return bad_flag(
        fmt::format("{} slots are not divisible by {} ranks", slots, o.ranks),
        o.slots ? "--slots" : "--redundant",
        fmt::format("use {} slots, or --rank-slots", (slots + o.ranks - 1) / o.ranks * o.ranks));
  }
  return even_rank_slots(static_cast<int>(slots), static_cast<int>(o.ranks));
}

}  // namespace

Expected<Topology> balance_topology(const BalanceOptions& o, int experts,
                                    const std::optional<RecordedPlacement>& current) {
  if (o.ranks < 1 || o.ranks > kMaxPlacementRanks) {
    return bad_flag(fmt::format("{} ranks, outside [1, {}]", o.ranks, kMaxPlacementRanks),
                    "--ranks", "give the ranks of the expert-parallel group");
  }
  Topology t;
  t.experts = experts;
  t.nodes = static_cast<int>(std::clamp<int64_t>(o.nodes, 0, INT32_MAX));
  t.groups = static_cast<int>(std::clamp<int64_t>(o.groups, 0, INT32_MAX));
  if (!o.rank_slots.empty()) {
    WS_ASSIGN(const auto sizes, parse_numbers(o.rank_slots, "--rank-slots", 0, kMaxPlacementSlots));
    if (sizes.size() != static_cast<size_t>(o.ranks)) {
      return bad_flag(fmt::format("names {} ranks, not {}", sizes.size(), o.ranks), "--rank-slots");
    }
    t.rank_slots.assign(sizes.begin(), sizes.end());
    const int64_t sum = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    if (o.slots && *o.slots != sum) {
      return bad_flag(fmt::format("its sum is {} slots, but --slots is {}", sum, *o.slots),
                      "--rank-slots");
    }
  } else if (current && !o.slots && !o.redundant) {
    t.rank_slots = current->rank_slots;
    if (t.rank_slots.empty()) {
      BalanceOptions as_current = o;
      as_current.slots = static_cast<int64_t>(current->slot_to_expert[0].size());
      WS_ASSIGN(t.rank_slots, even_sizes(as_current, *as_current.slots));
    }
  } else {
    int64_t slots = (experts + o.ranks - 1) / o.ranks * o.ranks;
    if (o.slots) slots = *o.slots;
    if (o.redundant) slots = experts + std::min<int64_t>(*o.redundant, INT32_MAX);
    if (slots < experts) {
      return bad_flag(fmt::format("{} slots are fewer than {} experts", slots, experts), "--slots",
                      "every expert needs one");
    }
    WS_ASSIGN(t.rank_slots, even_sizes(o, slots));
  }
  WS_RETURN_IF_ERROR(t.validate());
  if (!t.grouped()) t.nodes = t.groups = 1;
  return t;
}

Expected<BalanceResult> run_balance(const BalanceOptions& o) {
  const Files& files = real_files();
  const auto format = eplb_format_from_name(o.format);
  if (!format || *format == EplbFormat::kWingspan) {
    return bad_flag(fmt::format("\"{}\" is no format of loads", o.format), "--format",
                    "use auto, sglang, tensorrt-llm, vllm, ascend, adrs or json");
  }
  if (o.move_budget && o.current.empty()) {
    return bad_flag("needs the running placement", "--move-budget", "give --current");
  }
  WS_ASSIGN(const RecordedLoad recorded, read_recorded_load(files, o.load, *format));
  WS_ASSIGN(const CountTable total, recorded.total());
  std::optional<RecordedPlacement> current;
  if (!o.current.empty()) {
    WS_ASSIGN(current, read_recorded_placement(files, o.current));
    WS_RETURN_IF_ERROR(check_same_model(*current, recorded, o));
  }
  BalanceResult result;
  result.load = total.rows();
  Placement& placement = result.placement;
  WS_ASSIGN(placement.topology, balance_topology(o, recorded.experts, current));
  placement.model = recorded.model;
  if (current) {
    WS_ASSIGN(result.current, align_current(*current, placement.topology, recorded, o));
    if (placement.model.empty()) placement.model = current->model;
  }
  WS_ASSIGN(const MovePrice price, price_of(o, recorded));
  result.expert_bytes = price.expert_bytes;
  PlanOptions plan;
  if (o.objective == "activated") plan.objective = Objective::kActivated;
  plan.rows = std::max(1.0, price.step_tokens * price.top_k);
  WS_ASSIGN(const auto plans, make_plans(o, recorded, result, plan));
  if (result.current) {
    WS_RETURN_IF_ERROR(apply_change(o, plan, price, plans, result));
  } else {
    for (size_t l = 0; l < plans.size(); ++l) {
      placement.layers.push_back({recorded.layers[l], plans[l].slot_to_expert});
    }
  }
  report_all(result, plans);
  if (!result.current) result.reason = fresh_reason(o, result, recorded);
  WS_RETURN_IF_ERROR(placement.validate());
  return result;
}

std::string balance_json(const BalanceResult& result) {
  std::string migration;
  if (result.current) {
    const bool known = result.expert_bytes > 0;
    migration = fmt::format("{{\"from_epoch\":{},\"moves\":[", result.current->epoch);
    bool first = true;
    for (const LayerMoves& layer : result.moves) {
      for (const Move& move : layer.moves) {
        migration +=
            fmt::format("{}\n{{\"layer\":{},\"slot\":{},\"expert\":{},\"source_rank\":{}",
                        first ? "" : ",", layer.layer, move.slot, move.expert, move.source_rank);
        if (move.batch >= 0) migration += fmt::format(",\"batch\":{}", move.batch);
        migration += '}';
        first = false;
      }
    }
    migration += fmt::format(
        "],\"moved_slots\":{},\"bytes\":{},\"expert_bytes\":{},\"frontier\":[", result.moved_slots,
        known ? std::to_string(result.moved_slots * result.expert_bytes) : "null",
        known ? std::to_string(result.expert_bytes) : "null");
    for (const FrontierTotal& point : result.frontier) {
      migration += fmt::format("{}{{\"moves_per_layer\":{},\"balancedness\":{}}}",
                               &point == &result.frontier.front() ? "" : ",", point.moves_per_layer,
                               point.balancedness);
    }
    migration += "]}";
  }
  return placement_to_json(result.placement, result.reason, result.reports, migration);
}

}  // namespace wingspan
