#include "cli/demo_page.h"

#include <fmt/format.h>

#include <algorithm>

namespace wingspan {

void DemoPage::add_domain(const std::string& name, const std::string& prompt,
                          const std::string& answer, const Load& load) {
  texts_.push_back({name, prompt, answer});
  loads_.emplace_back(name, load);
}

void DemoPage::add_width(const WidthRun& run, int batch, bool same_bits) {
  const RouterSpec& r = setup_.config.moe.router;
  const double experts = static_cast<double>(r.experts) / run.ranks;
  const double tokens = static_cast<double>(batch) * run.ranks * r.top_k / r.experts;
  const double steps = static_cast<double>(std::max<int64_t>(1, run.decode.steps));
  const auto ms = [&](int64_t ns) {
    return fmt::format("{:.2f} ms", static_cast<double>(ns) / steps * 1e-6);
  };
  table_.add({std::to_string(run.ranks), fmt::format("{:g}", experts),
              human_bytes(run.weight_bytes), fmt::format("{:.3g}", tokens), ms(run.decode.total_ns),
              ms(run.decode.attention_ns), ms(run.decode.dispatch_ns), ms(run.decode.group_gemm_ns),
              ms(run.decode.combine_ns), fmt::format("{:.3f}", run.balance.balancedness),
              same_bits ? "yes" : "NO"});
  tokens_per_expert_.labels.push_back(fmt::format("EP{}", run.ranks));
  tokens_per_expert_.values.push_back(tokens);
  tokens_per_expert_.texts.push_back(
      fmt::format("{:.3g} tokens per expert, {:g} experts per rank", tokens, experts));
}

std::string DemoPage::html() const {
  std::string body = fmt::format(
      "<p>{}: a DeepSeek-V3-style model with {} experts per layer, top-{}, run over "
      "expert-parallel ranks "
      "on one machine.</p>\n",
      escape_html(setup_.config.name), setup_.config.moe.router.experts,
      setup_.config.moe.router.top_k);
  body +=
      "<h2>Wider groups bring more tokens to each expert</h2>\n" + html_bars(tokens_per_expert_);
  body +=
      "<p class=\"note\">The batch per rank is fixed; tokens per expert are computed for even "
      "routing, the times below are measured, all ranks sharing this machine's cores.</p>\n";
  body += html_table(table_);
  body += "<h2>Which experts each kind of text uses</h2>\n";
  for (const int layer : setup_.config.moe_layers()) {
    HeatMap map;
    map.columns =
        fmt::format("layer {}: experts 0 … {}", layer, setup_.config.moe.router.experts - 1);
    for (const auto& [name, load] : loads_) {
      const auto at = std::find(load.layers.begin(), load.layers.end(), layer);
      if (at == load.layers.end() || load.windows.empty()) continue;
      const auto& counts = load.windows[0].load[static_cast<size_t>(at - load.layers.begin())];
      const double tokens = static_cast<double>(std::max<int64_t>(1, load.windows[0].tokens));
      std::vector<double> shares;
      for (const int64_t n : counts) shares.push_back(static_cast<double>(n) / tokens);
      map.rows.push_back(name);
      map.values.push_back(std::move(shares));
    }
    body += html_heat_map(map);
  }
  body +=
      "<p class=\"note\">Share of the domain's tokens that an expert gets. Each domain alone is "
      "skewed: that is what a load balancer is for.</p>\n<h2>What it wrote</h2>\n";
  for (const Text& t : texts_) {
    body += "<h3>" + escape_html(t.domain) + "</h3><pre>" + escape_html(t.prompt) + "<b>" +
            escape_html(t.answer) + "</b></pre>\n";
  }
  return html_page("Wingspan: one model, 1 to 64 ranks, the same bits", body);
}

}  // namespace wingspan
