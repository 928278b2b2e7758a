// One pass over the layers, part by part. Internal to plan: predict.h has the doors.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "plan/blocks.h"

namespace wingspan::plan_detail {

// What passes through the layers, per GPU.
struct Rows {
  double query = 0;      // rows to compute
  double sequences = 0;  // that they belong to
  double context = 0;    // mean tokens that a row attends to
  double kv_tokens = 0;  // read per sequence
};

class StepModel {
 public:
  StepModel(const PlanModel& m, const PlanGpu& g, const PlanScenario& s, const PlanConstants& c,
            bool prefill, double ep, double slots, Trace* trace)
      : m_(m),
        g_(g),
        s_(s),
        c_(c),
        prefill_(prefill),
        ep_(ep),
        slots_(slots),
        tp_(ep == s.ep ? s.attention_tp : 1),
        group_(ep == s.ep ? s.group() : ep),
        trace_(trace) {}

  StepCost decode(double batch, double context);
  StepCost prefill_chunk(double tokens);

 private:
  struct Layer {
    Piece attention, other, experts, shared, dispatch, combine;
    double computing_s() const { return attention.s + other.s + experts.s + shared.s; }
  };
  Piece attention(const Rows& rows);
  Piece attention_core(const Rows& rows);
  Piece other(double rows);
  double context_skew(double sequences) const;
  double length_tail() const;
  double sequence_spread() const;  // relative, of one sequence's context
  Piece experts(double rows, double imbalance);
  // Products of all experts of a rank whose loads differ: each expert meets its own roofline.
  Piece expert_products(double read_s, double math_s) const;
  // Of the log loads of one rank's experts around their mean.
  double expert_spread() const;
  Piece shared(double rows);
  std::pair<Piece, Piece> exchange(double rows, double imbalance);
  void add_waits(Layer& layer);
  // max ÷ mean rows of the scale-up domains, whose ranks make up for each other.
  double domain_imbalance(double rows, double imbalance) const;
  Layer layer(const Rows& rows, double imbalance);
  Piece all_reduce(double rows) const;
  double imbalance_of(double rows) const;
  // Adds the layers to the step; two half batches read the weights twice.
  void add_layers(const Rows& rows);
  double hidden_s(const Layer& layer) const;
  bool crosses() const { return group_ > g_.scaleup_domain; }
  double two_batch_share() const;
  const char* two_batch_name() const {
    return crosses() ? "two_batch_overlap" : "two_batch_overlap_scaleup";
  }
  void add_drafts(const Rows& rows);
  void add(StepTerm term, const Piece& piece, double times = 1);
  StepCost finish();
  // Only called when there is a trace.
  void note(StepTerm term, std::string formula, std::string numbers, double seconds,
            std::vector<std::string> constants);
  // A product of `rows` rows through `params` weights, written out.
  void note_gemm(StepTerm term, const std::string& what, double rows, double params,
                 PlanDType dtype, double seconds);
  void note_all_reduce(StepTerm term, double rows, double count);
  const char* stream_name() const { return g_.blackwell ? "stream_blackwell" : "stream_hopper"; }
  const char* share_name() const {
    return g_.blackwell ? "fixed_share_blackwell" : "fixed_share_hopper";
  }

  const PlanModel& m_;
  const PlanGpu& g_;
  const PlanScenario& s_;
  const PlanConstants& c_;
  bool prefill_;
  double ep_, slots_, tp_, group_;
  Trace* trace_;
  double times_ = 1;  // of the lines being noted
  StepCost out_;
};

}  // namespace wingspan::plan_detail
