// The hot loops of the GEMM kernels, as compiled, keep their sums in registers: a compiler that
// spills one of them halves the speed without any other sign. Reads the object files with objdump.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

struct Instruction {
  uint64_t address;
  std::string text;
};

struct Loop {
  std::string function;
  int instructions = 0, products = 0, stack = 0;
};

// What a command prints; empty if it cannot run.
std::string output_of(const std::string& command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(popen(command.c_str(), "r"), pclose);
  std::string out;
  std::array<char, 1 << 16> chunk{};
  for (size_t n = 0; pipe && (n = fread(chunk.data(), 1, chunk.size(), pipe.get())) > 0;) {
    out.append(chunk.data(), n);
  }
  return out;
}

// The innermost loops of a function that multiply: from the target of a backward jump to the jump,
// with no other such pair inside.
void add_loops(const std::string& function, const std::vector<Instruction>& code,
               const std::string& product, std::vector<Loop>& loops) {
  std::map<uint64_t, size_t> at;
  for (size_t i = 0; i < code.size(); ++i) at[code[i].address] = i;
  std::vector<std::pair<size_t, size_t>> ranges;
  for (size_t i = 0; i < code.size(); ++i) {
    if (code[i].text[0] != 'j') continue;
    const size_t space = code[i].text.find(' ');
    const auto target = at.find(std::strtoull(code[i].text.c_str() + space, nullptr, 16));
    if (target != at.end() && target->second <= i) ranges.emplace_back(target->second, i);
  }
  for (const auto& [begin, end] : ranges) {
    bool innermost = true;
    for (const auto& [b, e] : ranges) {
      if ((b != begin || e != end) && b >= begin && e <= end) innermost = false;
    }
    if (!innermost) continue;
    Loop loop{function};
    for (size_t i = begin; i <= end; ++i) {
      ++loop.instructions;
      loop.products += code[i].text.rfind(product, 0) == 0 ? 1 : 0;
      loop.stack += code[i].text.find("(%rsp") != std::string::npos ? 1 : 0;
    }
    if (loop.products > 0) loops.push_back(loop);
  }
}

std::vector<Loop> loops_of(const std::string& object, const std::string& product) {
  std::istringstream text(output_of("objdump -dC --no-show-raw-insn '" + object + "' 2>/dev/null"));
  std::vector<Loop> loops;
  std::vector<Instruction> code;
  std::string function;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty() && line.back() == ':' && line.find(" <") != std::string::npos) {
      add_loops(function, code, product, loops);
      code.clear();
      function = line.substr(line.find('<'));
      continue;
    }
    const size_t colon = line.find(":\t");
    if (colon == std::string::npos) continue;
    code.push_back({std::strtoull(line.c_str(), nullptr, 16), line.substr(colon + 2)});
  }
  add_loops(function, code, product, loops);
  return loops;
}

std::string object_named(const std::string& variant, const std::string& file) {
  std::ifstream list(WINGSPAN_KERNEL_OBJECTS);
  for (std::string line; std::getline(list, line);) {
    if (line.find("wingspan_kernels_" + variant + ".dir") != std::string::npos &&
        line.find(file) != std::string::npos) {
      return line;
    }
  }
  return "";
}

struct Hot {
  const char* variant;
  const char* file;
  const char* product;
  const char* type;  // of weights, in the function's name
  const char* tile;  // rows and panels, in the function's name; shares of the prefetch follow
  int products;
  int allowed;  // reads of constants from the stack
};

// The tallest tile of each kind, and the tile of one row.
constexpr Hot kHot[] = {
    {"avx512", "linear_avx512.cc", "vdpbf16ps", "Bf16Load", "6, 4", 24, 0},
    {"avx512", "linear_avx512.cc", "vdpbf16ps", "Bf16Load", "1, 4", 4, 0},
    {"avx512", "linear_avx512.cc", "vdpbf16ps", "Fp8Load", "1, 4", 4, 0},
    {"avx512", "linear_avx512.cc", "vdpbf16ps", "Fp8Load", "6, 4", 24, 2},
    {"v3", "linear_portable.cc", "vfmadd", "F32Weight", "6, 1", 24, 0},
    {"v3", "linear_portable.cc", "vfmadd", "Bf16Weight", "6, 1", 24, 0},
    {"v3", "linear_portable.cc", "vfmadd", "Bf16Weight", "1, 4", 16, 0},
    {"v4", "linear_portable.cc", "vfmadd", "F32Weight", "6, 4", 48, 0},
};

TEST(ObjectCode, HotLoopsKeepOffTheStack) {
  if (!WINGSPAN_KERNELS_OPTIMISED) GTEST_SKIP() << "instrumented or built by another compiler";
  if (output_of("objdump --version 2>/dev/null").empty()) GTEST_SKIP() << "no objdump";
  for (const Hot& hot : kHot) {
    SCOPED_TRACE(::testing::Message() << hot.variant << " " << hot.type << " <" << hot.tile << ">");
    const std::string object = object_named(hot.variant, hot.file);
    ASSERT_FALSE(object.empty());
    // The loop that multiplies most: a jump back from a rare case looks like a loop, too.
    std::map<std::string, Loop> hottest;
    for (const Loop& loop : loops_of(object, hot.product)) {
      const std::string tile = std::string(hot.type) + ", " + hot.tile + ", ";
      if (loop.function.find(tile) == std::string::npos) continue;
      Loop& best = hottest[loop.function];
      if (loop.products > best.products) best = loop;
    }
    for (const auto& [function, loop] : hottest) {
      EXPECT_EQ(loop.products, hot.products) << function;
      EXPECT_LE(loop.stack, hot.allowed) << "of " << loop.instructions << " instructions";
    }
    EXPECT_FALSE(hottest.empty());
  }
}

}  // namespace
