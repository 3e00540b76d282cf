# doppler_module(NAME LINK libraries...)
#
# Makes the static library doppler_NAME of every .cc in the current folder and the given
# SUBDIRS, leaving out *_test.cc (linked into one GoogleTest program, NAME_test), *_bench.cc
# (one Google Benchmark program, NAME_bench) and *_fuzz.cc (one libFuzzer program each).
function(doppler_module NAME)
  cmake_parse_arguments(ARG "" "" "LINK;SUBDIRS" ${ARGN})
  set(all "")
  foreach(folder . ${ARG_SUBDIRS})
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc)
    list(APPEND all ${found})
  endforeach()
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_(test|bench|fuzz)\\.cc$")
  add_library(doppler_${NAME} STATIC ${sources})
  target_include_directories(doppler_${NAME} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(doppler_${NAME} PUBLIC ${ARG_LINK})

  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(DOPPLER_TESTS AND tests)
    doppler_test(${NAME}_test SOURCES ${tests} LINK doppler_${NAME})
  endif()

  set(benches ${all})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  if(DOPPLER_TESTS AND benches)
    add_executable(${NAME}_bench ${benches})
    target_link_libraries(${NAME}_bench doppler_${NAME} benchmark::benchmark_main)
  endif()

  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  if(DOPPLER_FUZZ)
    foreach(source ${fuzzers})
      get_filename_component(target ${source} NAME_WE)
      add_executable(${target} ${source})
      target_link_libraries(${target} doppler_${NAME})
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
    endforeach()
  endif()
endfunction()

# doppler_test(TARGET SOURCES ... LINK ...): one GoogleTest program, each case a ctest test.
# Test data is found under DOPPLER_SOURCE_DIR.
function(doppler_test TARGET)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${TARGET} ${ARG_SOURCES})
  target_link_libraries(${TARGET} ${ARG_LINK} GTest::gmock_main GTest::gtest)
  target_compile_definitions(${TARGET} PRIVATE DOPPLER_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  # What is tested is optimised, the tests themselves are only compiled quickly.
  target_compile_options(${TARGET} PRIVATE -O0)
  gtest_discover_tests(${TARGET} DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES PROPERTIES TIMEOUT 300)
endfunction()
