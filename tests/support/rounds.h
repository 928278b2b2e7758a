// How often a randomised test repeats.
#pragma once

namespace wingspan::test {

#ifdef WINGSPAN_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

// Under a sanitizer a tenth: it looks for errors that any round shows, and each takes ten times as
// long. What a test counts over its rounds is scaled by the same.
constexpr int rounds(int usual) { return kSanitized ? (usual + 9) / 10 : usual; }

}  // namespace wingspan::test
