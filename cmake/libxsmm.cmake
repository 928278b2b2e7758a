# libxsmm (Debian: libxsmm-dev), static libraries that need each other: the target wingspan_libxsmm where it is installed.
find_path(LIBXSMM_INCLUDE libxsmm.h)
find_library(LIBXSMM_LIBRARY xsmm)
find_library(LIBXSMM_NOBLAS_LIBRARY xsmmnoblas)
if(LIBXSMM_INCLUDE AND LIBXSMM_LIBRARY AND LIBXSMM_NOBLAS_LIBRARY AND NOT TARGET wingspan_libxsmm)
  add_library(wingspan_libxsmm INTERFACE)
  target_include_directories(wingspan_libxsmm SYSTEM INTERFACE ${LIBXSMM_INCLUDE})
  target_link_libraries(wingspan_libxsmm INTERFACE -Wl,--start-group ${LIBXSMM_LIBRARY}
    ${LIBXSMM_NOBLAS_LIBRARY} -Wl,--end-group ${CMAKE_DL_LIBS} rt m)
endif()
