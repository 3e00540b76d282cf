# doppler_module(NAME [COMPUTES] LINK libraries...)
#
# Makes the static library doppler_NAME of every .cc in the current folder and the given
# SUBDIRS, leaving out *_test.cc (linked into one GoogleTest program, NAME_test), *_bench.cc
# (one Google Benchmark program, NAME_bench) and *_fuzz.cc (one libFuzzer program each).
# One that COMPUTES is optimised for the sanitizers too.
function(doppler_module NAME)
  cmake_parse_arguments(ARG "COMPUTES" "" "LINK;SUBDIRS" ${ARGN})
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
  if(ARG_COMPUTES)
    target_compile_options(doppler_${NAME} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1>)
  else()
    doppler_precompile(doppler_${NAME} INSTRUMENTED)
  endif()
  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cc$")
  # What computes and parses nothing would only be slower for it.
  if(DOPPLER_FUZZ AND (fuzzers OR NOT ARG_COMPUTES))
    target_compile_options(doppler_${NAME} PRIVATE -fsanitize=fuzzer-no-link)
  endif()

  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(DOPPLER_TESTS AND tests)
    doppler_test(${NAME}_test SOURCES ${tests} LINK doppler_${NAME})
  endif()

  set(benches ${all})
  list(FILTER benches INCLUDE REGEX "_bench\\.cc$")
  if(TARGET benchmark::benchmark_main AND benches)
    add_executable(${NAME}_bench ${benches})
    target_link_libraries(${NAME}_bench doppler_${NAME} benchmark::benchmark_main)
  endif()

  if(DOPPLER_FUZZ)
    foreach(source ${fuzzers})
      get_filename_component(target ${source} NAME_WE)
      add_executable(${target} ${source})
      target_link_libraries(${target} doppler_${NAME})
      target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)
      target_link_options(${target} PRIVATE -fsanitize=fuzzer)
      doppler_precompile(${target} INSTRUMENTED)
    endforeach()
  endif()
endfunction()

# doppler_test_needs(TARGET PROGRAM...): the programs that a test starts are there when it is. It is
# compiled without waiting for them, as add_dependencies would have it.
function(doppler_test_needs TARGET)
  foreach(program ${ARGN})
    set_property(TARGET ${TARGET} APPEND PROPERTY LINK_DEPENDS $<TARGET_FILE:${program}>)
  endforeach()
endfunction()

# doppler_test(TARGET SOURCES ... LINK ... [PROGRAMS ...]): one GoogleTest program.
#
# Each case is a ctest test. Under a sanitizer or an emulator, where a process takes long to start, a
# ctest test is a quarter of the program's cases; the perplexity of whole texts, the long texts that would show
# quadratic time, the demo model in two layouts and families in three shardings, which do not depend on the build, are left out. So are, for the thread sanitizer, cases with one
# compute thread, kernels that are compared in one thread, and families and formats of weights whose threads do what others' do. With LONG they are started before those of other programs.
# With DEMO they read the demo model that the test `demo_model` converts for all of them (tests/).
# Test data is found under DOPPLER_SOURCE_DIR. Outside the sanitizers decode may not allocate.
function(doppler_test TARGET)
  cmake_parse_arguments(ARG "LONG;DEMO" "" "SOURCES;LINK;PROGRAMS" ${ARGN})
  set(cost 0)
  if(ARG_LONG)
    set(cost 1000)
  endif()
  add_executable(${TARGET} ${ARG_SOURCES})
  doppler_test_needs(${TARGET} ${ARG_PROGRAMS})
  set(properties COST ${cost})
  if(ARG_DEMO)
    doppler_test_needs(${TARGET} convert_demo)
    list(APPEND properties FIXTURES_REQUIRED demo_model
                           ENVIRONMENT DOPPLER_DEMO_MODEL=${DOPPLER_DEMO_MODEL})
  endif()
  target_link_libraries(${TARGET} ${ARG_LINK} GTest::gmock_main GTest::gtest)
  target_compile_definitions(${TARGET} PRIVATE DOPPLER_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  # What is tested is optimised, the tests themselves are only compiled quickly.
  target_compile_options(${TARGET} PRIVATE -O0)
  doppler_precompile(${TARGET})
  # Most of what compiling a test takes is reading its headers: they are read once per program.
  set_target_properties(${TARGET} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  if(NOT DOPPLER_SANITIZE)
    target_link_libraries(${TARGET} doppler_allocation_guard)
  endif()
  if(NOT DOPPLER_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
    gtest_discover_tests(${TARGET} DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
                         PROPERTIES TIMEOUT 300 ${properties})
    return()
  endif()
  set(left_out "*Perplexity*:*NoQuadraticTime:GroupsResidency.GiveTheSameBitsAsRows:*FamilyTest*_layer_*:*FamilyTest*_fixed_*")
  if(DOPPLER_SANITIZE STREQUAL "thread")
    string(APPEND left_out ":Window.*:*LatentTest*:*1Thread*:*/phimoe:*/gpt_oss:*/deepseek_v3"
                           ":List/KernelListTest.*:*/portable_iq*:*/portable_q?_k:*/avx_vnni_*"
                           ":Tiles/*:HalfTiles/*:*AvxVnniTest*")
  endif()
  foreach(quarter RANGE 3)
    add_test(NAME ${TARGET}.${quarter}
             COMMAND ${TARGET} --gtest_brief=1 --gtest_filter=-${left_out})
    set_tests_properties(${TARGET}.${quarter} PROPERTIES TIMEOUT 900 ${properties})
    set_property(TEST ${TARGET}.${quarter} APPEND PROPERTY ENVIRONMENT
                 GTEST_TOTAL_SHARDS=4 GTEST_SHARD_INDEX=${quarter})
  endforeach()
endfunction()
