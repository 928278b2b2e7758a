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
