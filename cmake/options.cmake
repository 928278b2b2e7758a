# Flags for everything that is compiled here.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tl-expected REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(HWLOC REQUIRED IMPORTED_TARGET hwloc)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
if(WINGSPAN_MPI)
  find_package(MPI COMPONENTS C)
endif()

add_library(wingspan_flags INTERFACE)
target_include_directories(wingspan_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
# Contraction would let a compiler fuse what the numeric contract rounds twice.
target_compile_options(wingspan_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -ffp-contract=off
  $<$<BOOL:${WINGSPAN_WERROR}>:-Werror>
  # gcc 12 sees uninitialised values in every std::string that an Expected may hold (GCC bug 105562);
  # clang and the sanitizers check the same.
  $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
target_link_libraries(wingspan_flags INTERFACE Threads::Threads fmt::fmt)
if(WINGSPAN_SANITIZE)
  target_compile_options(wingspan_flags INTERFACE
    -fsanitize=${WINGSPAN_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(wingspan_flags INTERFACE -fsanitize=${WINGSPAN_SANITIZE})
endif()
