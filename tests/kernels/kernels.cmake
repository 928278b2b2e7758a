# The avx512 kernels over emulated instructions, so that its bits are tested on every x86-64 machine.
find_path(SIMDE_INCLUDE simde/x86/avx512.h)
target_include_directories(test_kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/kernels)
if(SIMDE_INCLUDE AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_library(wingspan_emulated_avx512 OBJECT
    ${PROJECT_SOURCE_DIR}/src/kernels/linear_avx512.cc
    ${PROJECT_SOURCE_DIR}/src/kernels/mla_attention_avx512.cc
    ${CMAKE_CURRENT_SOURCE_DIR}/kernels/emulated/emulated.cc)
  target_link_libraries(wingspan_emulated_avx512 PRIVATE wingspan_flags wingspan_tensor)
  target_include_directories(wingspan_emulated_avx512 PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/kernels)
  # Its own namespace, and the portable kernels of this CPU for what it hands on.
  target_compile_definitions(wingspan_emulated_avx512 PRIVATE avx512=avx512_emulated v4=v3)
  target_compile_options(wingspan_emulated_avx512 PRIVATE -O2 -march=x86-64-v3 -fno-math-errno
    -fno-trapping-math -Wno-psabi -Wno-uninitialized -Wno-ignored-attributes
    -isystem ${CMAKE_CURRENT_SOURCE_DIR}/kernels/emulated)
  target_sources(test_kernels PRIVATE $<TARGET_OBJECTS:wingspan_emulated_avx512>)
else()
  target_sources(test_kernels PRIVATE kernels/emulated/no_emulated.cc)
endif()

# The object files whose hot loops a test reads. g++ is what is judged: it builds `make demo`.
set(kernel_objects "")
foreach(variant v3 v4 avx512)
  if(TARGET wingspan_kernels_${variant})
    list(APPEND kernel_objects "$<JOIN:$<TARGET_OBJECTS:wingspan_kernels_${variant}>,\n>")
  endif()
endforeach()
list(JOIN kernel_objects "\n" kernel_objects)
file(GENERATE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/kernel_objects.txt CONTENT "${kernel_objects}\n")
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND kernel_objects AND NOT WINGSPAN_SANITIZE
   AND CMAKE_BUILD_TYPE MATCHES "^Rel")
  set(optimised 1)
else()
  set(optimised 0)
endif()
target_compile_definitions(test_kernels PRIVATE WINGSPAN_KERNELS_OPTIMISED=${optimised}
  WINGSPAN_KERNEL_OBJECTS="${CMAKE_CURRENT_BINARY_DIR}/kernel_objects.txt")

# A gate by instruction counts: wall time says nothing on a shared machine.
add_executable(hot_loops kernels/hot_loops.cc)
target_link_libraries(hot_loops PRIVATE wingspan_flags wingspan_kernels)
if(optimised)
  add_test(NAME Instructions.HotLoops
    COMMAND ${PROJECT_SOURCE_DIR}/scripts/instructions.sh $<TARGET_FILE:hot_loops>)
  set_tests_properties(Instructions.HotLoops PROPERTIES LABELS fast SKIP_RETURN_CODE 77 TIMEOUT 180)
endif()

# Another library as an oracle, where it is installed.
include(${PROJECT_SOURCE_DIR}/cmake/libxsmm.cmake)
if(TARGET wingspan_libxsmm)
  target_link_libraries(test_kernels PRIVATE wingspan_libxsmm)
else()
  get_target_property(kernel_tests test_kernels SOURCES)
  list(FILTER kernel_tests EXCLUDE REGEX "libxsmm_test\\.cc$")
  set_property(TARGET test_kernels PROPERTY SOURCES ${kernel_tests})
endif()
