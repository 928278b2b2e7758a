// Strong integer ids: an expert is never a slot, and a rank is never a layer.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace wingspan {

template <class Tag>
struct StrongId {
  int32_t value = 0;

  constexpr StrongId() = default;
  constexpr explicit StrongId(int64_t v) : value(static_cast<int32_t>(v)) {}
  constexpr auto operator<=>(const StrongId&) const = default;
};

using ExpertId = StrongId<struct ExpertTag>;  // the model's view: expert e of a layer
using SlotId = StrongId<struct SlotTag>;      // a place on a rank, numbered over the whole group
using RankId = StrongId<struct RankTag>;      // a member of the expert-parallel group
using LayerId = StrongId<struct LayerTag>;    // the model's layer number, dense layers included

}  // namespace wingspan

template <class Tag>
struct std::hash<wingspan::StrongId<Tag>> {
  size_t operator()(wingspan::StrongId<Tag> id) const noexcept {
    return std::hash<int32_t>{}(id.value);
  }
};
