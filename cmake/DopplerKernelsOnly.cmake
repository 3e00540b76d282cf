# What base and backend and their tests need of libraries, where there are none built for the
# processor: fmt is headers alone, GoogleTest is built from the sources of Debian's package.
add_library(fmt::fmt INTERFACE IMPORTED)
target_compile_definitions(fmt::fmt INTERFACE FMT_HEADER_ONLY=1)

if(DOPPLER_TESTS)
  enable_language(C)
  set(INSTALL_GTEST OFF)
  add_subdirectory(/usr/src/googletest ${CMAKE_BINARY_DIR}/googletest EXCLUDE_FROM_ALL)
  # Their warnings are not ours, and building them takes longer than the tests gain by it.
  foreach(target gtest gtest_main gmock gmock_main)
    target_compile_options(${target} PRIVATE -w -O0)
  endforeach()
endif()
