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
pkg_check_modules(LIBZIP REQUIRED IMPORTED_TARGET libzip)
find_package(yaml-cpp REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(Boost 1.81 REQUIRED)
if(WINGSPAN_MPI)
  find_package(MPI COMPONENTS CXX)
  if(NOT MPI_CXX_FOUND)
    message(STATUS "The MPI transport: off, no MPI was found")
  endif()
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
  # With instrumentation between them, g++ 12 no longer sees that a value is set before it is read.
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    target_compile_options(wingspan_flags INTERFACE -Wno-maybe-uninitialized -Wno-uninitialized
      -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds -Wno-restrict
      -Wno-free-nonheap-object -Wno-mismatched-new-delete)
    # std::atomic_thread_fence is unknown to its thread sanitizer; g++ warns where one is used.
    if(WINGSPAN_SANITIZE STREQUAL "thread")
      target_compile_options(wingspan_flags INTERFACE -Wno-tsan)
    endif()
  endif()
endif()
if(WINGSPAN_FUZZ)
  if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "WINGSPAN_FUZZ needs clang++: use the preset \"asan\"")
  endif()
endif()

# The modules that read foreign bytes report their coverage to libFuzzer, whose main() only the fuzz programs bring. The
# others would only be slower for it.
set(WINGSPAN_FUZZED base tensor placement model tokenizer eplb_files plan serve)
function(wingspan_report_coverage name)
  if(WINGSPAN_FUZZ AND name IN_LIST WINGSPAN_FUZZED)
    target_compile_options(wingspan_${name} PRIVATE -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# Most of a file's compile time goes into headers of libraries; the files of a module together read them once. The preset
# "debug" compiles each file by itself.
function(wingspan_compile_together target)
  if(WINGSPAN_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  endif()
endfunction()

# The command line and the tests cost a sanitized build far more time to optimise than they take to run.
function(wingspan_quick_to_build target)
  if(WINGSPAN_SANITIZE)
    target_compile_options(${target} PRIVATE -O0)
  endif()
endfunction()
