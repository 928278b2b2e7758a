// Waiting in front of c equal servers, in closed form: Erlang's C with the correction of Allen and
// Cunneen for arrivals and service times that are not exponential. It prunes a search; near its
// limits (bursts, long tails) a simulation decides.
//
// Sources: Erlang 1917; Allen, "Probability, Statistics and Queueing Theory" (1990), ch. 5.
#pragma once

namespace wingspan {

struct QueueLoad {
  int servers = 1;         // ≥ 1
  double service_s = 0;    // mean time of one customer on one server
  double utilisation = 0;  // arrival rate · service_s ÷ servers; ≥ 1: the queue has no end
  double arrival_variation = 1;  // squared coefficient of variation; Poisson: 1
  double service_variation = 1;  // the same of the service time; fixed: 0, exponential: 1
};

// Probability that an arrival has to wait in M/M/c; 1 from utilisation 1 on.
double erlang_c(int servers, double utilisation);
// The wait of one load, Erlang's C computed once.
struct QueueWait {
  double waits_share = 0;  // Erlang's C
  double mean_s = 0;       // without the service; infinite from utilisation 1 on
  // 0 ≤ p < 1: max(0, mean/C · ln(C/(1−p))).
  double quantile_s(double p) const;
};
QueueWait queue_wait(const QueueLoad& load);
inline double wait_mean_s(const QueueLoad& load) { return queue_wait(load).mean_s; }
inline double wait_quantile_s(const QueueLoad& load, double p) {
  return queue_wait(load).quantile_s(p);
}

// z with P(standard normal ≤ z) = p, for p in (0, 1).
double normal_quantile(double p);
// Quantile of the sequences on a rank when their mean is `mean`, z being normal_quantile(p):
// mean + z·√mean, at least 0.
double occupancy_quantile(double mean, double z);
// Mean of the largest of `ranks` independent Poisson numbers of that mean (Σ over k of
// 1 − P(≤ k)^ranks, exact to 1e-12; for means beyond a million by the normal distribution).
double poisson_max_mean(double mean, double ranks);

}  // namespace wingspan
