#include "plan/step.h"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "plan/calibrate.h"

namespace wingspan::plan_detail {

void StepModel::note(StepTerm term, std::string formula, std::string numbers, double seconds,
                     std::vector<std::string> constants) {
  trace_->push_back(
      {term, std::move(formula), std::move(numbers), seconds * 1e6, times_, std::move(constants)});
}

void StepModel::note_gemm(StepTerm term, const std::string& what, double rows, double params,
                          PlanDType dtype, double seconds) {
  const double peak = peak_flops(g_, dtype), e = flops_efficiency(g_, c_, peak);
  const double stream = stream_bytes_per_s(g_, c_);
  note(term,
       what +
           ": knee(params*b / (stream*HBM), 2*rows*params / (e*peak)), "
           "1/e = 1/flops_share + flops_slope*(peak/HBM)/400",
       fmt::format("knee({:.6g}*{:g} B / {:.4g} B/s = {:.4g} us, 2*{:g}*{:.6g} / ({:.4g}*{:.4g}) = "
                   "{:.4g} us)",
                   params, dtype_bytes(dtype), stream, params * dtype_bytes(dtype) / stream * 1e6,
                   rows, params, e, peak, 2 * rows * params / (e * peak) * 1e6),
       seconds, {"flops_share", "flops_slope", stream_name(), "knee_power"});
}

void StepModel::note_all_reduce(StepTerm term, double rows, double count) {
  const double link = tp_ <= g_.scaleup_domain ? g_.scaleup_bytes_per_s : g_.scaleout_bytes_per_s;
  note(term, "all-reduce: count * (t0 + 2(tp-1)/tp * rows*tp * H*2 B / (share * link))",
       fmt::format("{:g} * ({:g} us + 2*({:g}-1)/{:g} * {:g}*{:g} * {:g}*2 / ({:g} * {:.4g}))",
                   count, c_.allreduce_fixed_us, tp_, tp_, rows, tp_, m_.hidden, c_.allreduce_share,
                   link),
       all_reduce(rows).s * count, {"allreduce_fixed_us", "allreduce_share"});
}

void StepModel::add(StepTerm term, const Piece& piece, double times) {
  out_.ms[static_cast<size_t>(term)] += piece.s * times * 1e3;
  for (size_t i = 0; i < kBounds; ++i) out_.bound_ms[i] += piece.by[i] * times * 1e3;
}

Piece StepModel::all_reduce(double rows) const {
  const double link = tp_ <= g_.scaleup_domain ? g_.scaleup_bytes_per_s : g_.scaleout_bytes_per_s;
  const double bytes = 2 * (tp_ - 1) / tp_ * rows * tp_ * m_.hidden * 2;
  return fixed(c_.allreduce_fixed_us * 1e-6) +
         fixed(bytes / (c_.allreduce_share * link), Bound::kNetwork);
}

double StepModel::imbalance_of(double rows) const {
  return rank_imbalance(m_, s_, c_, ep_, slots_, rows * m_.top_k * group_ / ep_);
}

double StepModel::domain_imbalance(double rows, double imbalance) const {
  const double domain = g_.scaleup_domain, domains = std::ceil(group_ / domain);
  // Of a number alone no more is known than that ranks differ by themselves.
  if (s_.balancing == Balancing::kGiven) return 1 + (imbalance - 1) / std::sqrt(domain);
  const double all = rows * m_.top_k * group_;
  return std::min(imbalance, rank_imbalance(m_, s_, c_, domains, slots_, all / domains));
}

std::pair<Piece, Piece> StepModel::exchange(double rows, double imbalance) {
  if (m_.experts <= 0 || group_ <= 1) return {};
  if (tp_ >= group_) {
    // Every rank has all rows: the two all-reduces stand in for the exchanges.
    const Piece one = all_reduce(rows);
    if (trace_ != nullptr) {
      for (const StepTerm term : {StepTerm::kDispatch, StepTerm::kCombine}) {
        note_all_reduce(term, rows, 1);
      }
    }
    return {one, one};
  }
  const bool inside = !crosses(), bulk = prefill_ && !inside;
  // The rank with the most rows takes them all in over its own link.
  const double between = bulk ? domain_imbalance(rows, imbalance) : imbalance;
  const auto one = [&](StepTerm term, PlanDType dtype, double fixed_us, const char* fixed_name) {
    const double bytes = exchange_bytes(dtype) * m_.hidden;
    const double start = fixed_us * 1e-6;
    const double all =
        exchange_s(m_, g_, c_, group_, rows, bytes * imbalance, start, bulk, between / imbalance);
    if (trace_ != nullptr) {
      const std::string form =
          inside ? "t0 + n*w*f * (R-1)*(1-(1-1/R)^K) / up"
          : bulk ? "t0 + n*w * max(between * (N-1)*(1-(1-1/N)^K) / (bulk share * nic), "
                   "f * R*(1-(1-1/R)^K)*(D-1)/D / up)"
                 : "t0 + n*w*f*K * max((1-D/R) / (out share * nic), (D-1)/R / up)";
      note(term, form,
           fmt::format("t0 {:g} us, n {:g} rows, w {:g} B, f {:.4g}{}, R {:g}, K {:g}, D {:g}, up "
                       "{:.4g} B/s (scaleup_share of the links), nic {:.4g} B/s",
                       fixed_us, rows, bytes, imbalance,
                       bulk ? fmt::format(" (between domains {:.4g})", between) : "", group_,
                       m_.top_k, g_.scaleup_domain, scaleup_reached(g_, c_),
                       g_.scaleout_bytes_per_s),
           all, {fixed_name, "scaleup_share", bulk ? "scaleout_bulk_share" : "scaleout_share"});
    }
    return fixed(start) + fixed(all - start, Bound::kNetwork);
  };
  Piece dispatch = one(StepTerm::kDispatch, s_.dispatch,
                       inside ? c_.dispatch_scaleup_us : c_.dispatch_scaleout_us,
                       inside ? "dispatch_scaleup_us" : "dispatch_scaleout_us");
  Piece combine =
      one(StepTerm::kCombine, s_.combine, inside ? c_.combine_scaleup_us : c_.combine_scaleout_us,
          inside ? "combine_scaleup_us" : "combine_scaleout_us");
  if (tp_ > 1) {
    dispatch += all_reduce(rows);
    if (trace_ != nullptr) note_all_reduce(StepTerm::kDispatch, rows, 1);
  }
  return {dispatch, combine};
}

StepModel::Layer StepModel::layer(const Rows& rows, double imbalance) {
  Layer out;
  out.attention = attention(rows);
  out.other = other(rows.query);
  if (m_.experts > 0) {
    out.experts = experts(rows.query, imbalance);
    out.shared = shared(rows.query);
    std::tie(out.dispatch, out.combine) = exchange(rows.query, imbalance);
    add_waits(out);
  }
  return out;
}

// Kernels take a little longer here than there, and each exchange begins when the last rank is
// there: of ranks that spread alike, the slowest of R lies √(2·ln R) spreads above the mean.
void StepModel::add_waits(Layer& l) {
  if (group_ <= 1) return;
  const double compute = l.computing_s();
  const double spread = c_.arrival_spread * std::sqrt(2 * std::log(group_));
  const Piece wait = fixed(spread * compute / 2);
  l.dispatch += wait;
  l.combine += wait;
  if (trace_ == nullptr) return;
  for (const StepTerm term : {StepTerm::kDispatch, StepTerm::kCombine}) {
    note(term, "ranks arrive apart: spread*sqrt(2*ln(R)) * the layer's computing / 2",
         fmt::format("{:g}*sqrt(2*ln({:g})) * {:.4g} us / 2", c_.arrival_spread, group_,
                     compute * 1e6),
         wait.s, {"arrival_spread"});
  }
}

// RDMA moves rows beside the products; inside a domain the same processors load and store them.
double StepModel::two_batch_share() const {
  return crosses() ? c_.two_batch_overlap : c_.two_batch_overlap_scaleup;
}

// Of one layer and, with two half batches, of both halves.
double StepModel::hidden_s(const Layer& l) const {
  if (s_.overlap == PlanOverlap::kNone || tp_ >= group_) return 0;
  const double network = l.dispatch.s + l.combine.s;
  const double compute = l.computing_s();
  if (s_.overlap == PlanOverlap::kTwoBatch) {
    return two_batch_share() * std::min(network, compute);
  }
  return c_.single_batch_overlap * std::min(l.combine.s, l.experts.s / 3 + l.shared.s);
}

void StepModel::add_layers(const Rows& whole) {
  const double halves = s_.overlap == PlanOverlap::kTwoBatch && m_.experts > 0 ? 2 : 1;
  Rows rows = whole;
  rows.query /= halves;
  rows.sequences /= halves;
  out_.imbalance = m_.experts > 0 ? imbalance_of(whole.query) : 1;
  times_ = m_.moe_layers() * halves;
  if (m_.moe_layers() > 0) {
    const Layer l = layer(rows, out_.imbalance);
    add(StepTerm::kAttention, l.attention, times_);
    add(StepTerm::kOther, l.other, times_);
    add(StepTerm::kExperts, l.experts, times_);
    add(StepTerm::kShared, l.shared, times_);
    add(StepTerm::kDispatch, l.dispatch, times_);
    add(StepTerm::kCombine, l.combine, times_);
    const double hidden = hidden_s(l);
    if (prefill_) {
      Layer bare = l;
      bare.experts = {};
      out_.experts_seen_ms = times_ * (l.experts.s - hidden + hidden_s(bare)) * 1e3;
    }
    if (hidden > 0) {
      add(StepTerm::kHidden, fixed(-hidden, Bound::kNetwork), times_);
      if (trace_ != nullptr) {
        const bool two = s_.overlap == PlanOverlap::kTwoBatch;
        const double share = two ? two_batch_share() : c_.single_batch_overlap;
        const char* name = two ? two_batch_name() : "single_batch_overlap";
        note(StepTerm::kHidden,
             two ? "-share * min(network, compute) of a half batch"
                 : "-share * min(combine, experts/3 + shared)",
             fmt::format("-{:g} * {:.4g} us", share, hidden * 1e6 / share), -hidden, {name});
      }
    }
  }
  times_ = m_.dense_layers;
  if (m_.dense_layers <= 0) return;
  add(StepTerm::kAttention, attention(whole), times_);
  add(StepTerm::kOther, other(whole.query), times_);
  // A dense MLP is split over the attention's tensor-parallel group.
  Piece mlp = gemm(g_, c_, whole.query * tp_, m_.dense_params() / tp_, s_.attention);
  if (trace_ != nullptr) {
    note_gemm(StepTerm::kDenseLayers, "dense MLP", whole.query * tp_, m_.dense_params() / tp_,
              s_.attention, mlp.s);
  }
  if (tp_ > 1) {
    const double count = m_.experts > 0 ? 1 : 2;
    mlp += all_reduce(whole.query).times(count);
    if (trace_ != nullptr) note_all_reduce(StepTerm::kDenseLayers, whole.query, count);
  }
  add(StepTerm::kDenseLayers, mlp, times_);
}

void StepModel::add_drafts(const Rows& rows) {
  if (s_.mtp_k <= 0) return;
  Rows one = rows;
  one.query = rows.sequences;
  Trace* trace = std::exchange(trace_, nullptr);
  const Layer l = layer(one, m_.experts > 0 ? imbalance_of(one.query) : 1);
  trace_ = trace;
  Piece draft = l.attention + l.other + l.dispatch + l.combine;
  draft += m_.experts > 0 ? l.experts + l.shared
                          : gemm(g_, c_, one.query * tp_, m_.dense_params() / tp_, s_.attention);
  draft += gemm(g_, c_, one.query * tp_, m_.vocab * m_.hidden / tp_, PlanDType::kBf16);
  draft += fixed(c_.host_ms * 1e-3);
  times_ = s_.mtp_k;
  if (trace_ != nullptr) {
    note(StepTerm::kDraft,
         "a layer, the head and the host's part on one row per sequence, as in a step",
         fmt::format(
             "{:g} rows: attention {:.4g} + other {:.4g} + experts {:.4g} + shared {:.4g} + "
             "dispatch {:.4g} + combine {:.4g} + the rest (head, host, or a dense MLP) {:.4g} us",
             one.query, l.attention.s * 1e6, l.other.s * 1e6, l.experts.s * 1e6, l.shared.s * 1e6,
             l.dispatch.s * 1e6, l.combine.s * 1e6,
             (draft.s - l.attention.s - l.other.s - l.experts.s - l.shared.s - l.dispatch.s -
              l.combine.s) *
                 1e6),
         draft.s, {"host_ms"});
  }
  add(StepTerm::kDraft, draft, times_);
}

StepCost StepModel::finish() {
  out_.step_ms = 0;
  for (const double part : out_.ms) out_.step_ms += part;
  size_t best = 0;
  for (size_t i = 1; i < kBounds; ++i) {
    if (out_.bound_ms[i] > out_.bound_ms[best]) best = i;
  }
  out_.bound = static_cast<Bound>(best);
  return out_;
}

StepCost StepModel::decode(double batch, double context) {
  const double k = 1 + s_.mtp_k;
  const Rows rows{batch * k, batch, context, context};
  add_layers(rows);
  times_ = 1;
  const Piece head = gemm(g_, c_, rows.query * tp_, m_.vocab * m_.hidden / tp_, PlanDType::kBf16);
  add(StepTerm::kHead, head);
  add(StepTerm::kHost, fixed(c_.host_ms * 1e-3));
  if (trace_ != nullptr) {
    note_gemm(StepTerm::kHead, "head", rows.query * tp_, m_.vocab * m_.hidden / tp_,
              PlanDType::kBf16, head.s);
    note(StepTerm::kHost, "host and sampling per step", fmt::format("{:g} ms", c_.host_ms),
         c_.host_ms * 1e-3, {"host_ms"});
  }
  add_drafts(rows);
  return finish();
}

StepCost StepModel::prefill_chunk(double tokens) {
  const double cached = s_.isl * s_.cached_fraction;
  const double fresh = std::max(1.0, s_.isl - cached);
  const Rows rows{tokens, tokens / fresh, cached + fresh / 2, cached + fresh};
  add_layers(rows);
  times_ = 1;
  const Piece head =
      gemm(g_, c_, std::max(1.0, rows.sequences), m_.vocab * m_.hidden / tp_, PlanDType::kBf16);
  add(StepTerm::kHead, head);
  double busy = 0;
  for (const double part : out_.ms) busy += part;
  const double bubbles = busy * (1 / c_.prefill_share - 1) * 1e-3;
  add(StepTerm::kBubbles, fixed(bubbles));
  out_.experts_seen_ms /= c_.prefill_share;
  if (trace_ != nullptr) {
    note_gemm(StepTerm::kHead, "head", std::max(1.0, rows.sequences), m_.vocab * m_.hidden / tp_,
              PlanDType::kBf16, head.s);
    note(StepTerm::kBubbles, "busy time * (1/share - 1)",
         fmt::format("{:.5g} ms * (1/{:g} - 1)", busy, c_.prefill_share), bubbles,
         {"prefill_share"});
  }
  return finish();
}

}  // namespace wingspan::plan_detail

namespace wingspan {

StepCost decode_step(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                     const PlanConstants& c, double batch, double context, Trace* trace) {
  const size_t lines = trace != nullptr ? trace->size() : 0;
  StepCost cost =
      plan_detail::StepModel(model, gpu, s, c, false, s.ep, s.slots, trace).decode(batch, context);
  return with_engine(cost, s.engine_decode, trace, lines);
}

StepCost prefill_pass(const PlanModel& model, const PlanGpu& gpu, const PlanScenario& s,
                      const PlanConstants& c, double ep, Trace* trace) {
  const double slots = ep == s.ep ? s.slots : model.experts;
  const size_t lines = trace != nullptr ? trace->size() : 0;
  StepCost cost = plan_detail::StepModel(model, gpu, s, c, true, ep, slots, trace)
                      .prefill_chunk(s.tokens_per_gpu);
  return with_engine(cost, s.engine_prefill, trace, lines);
}

PromptTime prompt_time(const StepCost& pass, const PlanScenario& s) {
  const double per_token = 1e-3 / (s.tokens_per_gpu * s.attention_tp);
  return {(pass.step_ms - pass.experts_seen_ms) * per_token, pass.experts_seen_ms * per_token};
}

const char* name_of(StepTerm term) {
  constexpr const char* kNames[] = {"attention", "experts",      "shared",  "dispatch",
                                    "combine",   "dense_layers", "head",    "other",
                                    "host",      "draft",        "bubbles", "hidden"};
  return kNames[static_cast<size_t>(term)];
}

const char* name_of(Bound bound) {
  constexpr const char* kNames[] = {"weights", "flops", "kv", "network", "latency"};
  return kNames[static_cast<size_t>(bound)];
}

}  // namespace wingspan
