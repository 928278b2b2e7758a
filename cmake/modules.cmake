# One static library a module; the include table of docs/architecture.md is checked by a test.
function(wingspan_module name)
  cmake_parse_arguments(ARG "" "" "LINK;EXCLUDE" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.cc)
  foreach(file ${ARG_EXCLUDE})
    list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/src/${name}/${file})
  endforeach()
  if(NOT sources)
    return()
  endif()
  add_library(wingspan_${name} STATIC ${sources})
  target_link_libraries(wingspan_${name} PUBLIC wingspan_flags ${ARG_LINK})
endfunction()

# Absence is a file, not an #ifdef: exactly one of the two is built.
if(WINGSPAN_MPI AND MPI_CXX_FOUND)
  set(absent_mpi no_mpi.cc)
  set(mpi_target MPI::MPI_CXX)
else()
  set(absent_mpi mpi.cc)
  set(mpi_target "")
endif()

wingspan_module(base LINK nlohmann_json::nlohmann_json tl::expected)
wingspan_module(tensor LINK wingspan_base)
wingspan_module(placement LINK wingspan_base)
wingspan_module(eplb LINK wingspan_placement)
wingspan_module(plan LINK wingspan_placement)
wingspan_module(eplb_files LINK wingspan_placement wingspan_tensor PkgConfig::LIBZIP yaml-cpp)
wingspan_module(sched LINK wingspan_base)
wingspan_module(comm LINK wingspan_tensor ${mpi_target} EXCLUDE ${absent_mpi})
include(cmake/kernels.cmake)
wingspan_module(moe LINK wingspan_kernels)
wingspan_module(ep LINK wingspan_placement wingspan_comm wingspan_kernels)
wingspan_module(model LINK wingspan_moe wingspan_ep PkgConfig::XXHASH)
wingspan_module(tokenizer LINK wingspan_base PkgConfig::PCRE2 PkgConfig::UTF8PROC)
wingspan_module(sim LINK wingspan_plan wingspan_sched)
wingspan_module(engine LINK wingspan_model wingspan_sched)

file(GLOB cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.cc)
list(REMOVE_ITEM cli_sources ${PROJECT_SOURCE_DIR}/src/cli/main.cc)
if(cli_sources)
  add_library(wingspan_cli STATIC ${cli_sources})
  set(build_info ${CMAKE_BINARY_DIR}/generated/cli/build_info.h)
  add_custom_target(wingspan_build_info BYPRODUCTS ${build_info}
    COMMAND ${CMAKE_COMMAND} -DSOURCE_DIR=${PROJECT_SOURCE_DIR} -DVERSION=${PROJECT_VERSION}
      -DOUTPUT=${build_info} -P ${PROJECT_SOURCE_DIR}/cmake/build_info.cmake)
  add_dependencies(wingspan_cli wingspan_build_info)
  # The program finds its data from any directory: it is built in.
  foreach(table hardware:HardwareCsv models:ModelsCsv measurements:MeasurementsCsv
      plan_constants:PlanConstantsCsv)
    string(REPLACE ":" ";" table ${table})
    list(GET table 0 stem)
    list(GET table 1 constant)
    set(header ${CMAKE_BINARY_DIR}/generated/cli/${stem}_csv.h)
    add_custom_command(OUTPUT ${header} DEPENDS ${PROJECT_SOURCE_DIR}/data/${stem}.csv
      COMMAND ${CMAKE_COMMAND} -DINPUT=${PROJECT_SOURCE_DIR}/data/${stem}.csv -DOUTPUT=${header}
        -DNAME=${constant} -P ${PROJECT_SOURCE_DIR}/cmake/embed_text.cmake)
    target_sources(wingspan_cli PRIVATE ${header})
  endforeach()
  target_include_directories(wingspan_cli PRIVATE ${CMAKE_BINARY_DIR}/generated)
  target_link_libraries(wingspan_cli PUBLIC wingspan_flags wingspan_engine wingspan_tokenizer
    wingspan_eplb wingspan_eplb_files wingspan_plan wingspan_sim
    CLI11::CLI11 spdlog::spdlog PkgConfig::HWLOC)
  wingspan_quick_to_build(wingspan_cli)
  add_executable(wingspan src/cli/main.cc)
  target_link_libraries(wingspan PRIVATE wingspan_cli)
  set_target_properties(wingspan PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endif()
