# doppler_precompile(TARGET [INSTRUMENTED]): TARGET reads the headers that most sources read from a
# precompiled one, with DOPPLER_PRECOMPILE; without it nothing.
#
# Precompiled headers are read with the options that they were compiled with. There are those of the
# modules and fuzz targets, INSTRUMENTED for a fuzzer, and those of programs and tests, both with the
# optimisation of the build's type: a target or source with another does without.
set(DOPPLER_PRECOMPILED_HEADERS
    <algorithm> <array> <atomic> <chrono> <condition_variable> <cstdint> <cstring> <filesystem>
    <fstream> <functional> <map> <memory> <mutex> <optional> <random> <set> <span> <string>
    <string_view> <thread> <tuple> <unordered_map> <utility> <variant> <vector>
    <fmt/format.h> <nlohmann/json.hpp>)

function(doppler_precompile TARGET)
  cmake_parse_arguments(ARG "INSTRUMENTED" "" "" ${ARGN})
  if(DOPPLER_PRECOMPILE AND ARG_INSTRUMENTED)
    target_precompile_headers(${TARGET} REUSE_FROM doppler_instrumented_headers)
  elseif(DOPPLER_PRECOMPILE)
    target_precompile_headers(${TARGET} REUSE_FROM doppler_headers)
  endif()
endfunction()

if(NOT DOPPLER_PRECOMPILE)
  return()
endif()

file(CONFIGURE OUTPUT ${CMAKE_BINARY_DIR}/headers.cc CONTENT "")
add_library(doppler_headers OBJECT ${CMAKE_BINARY_DIR}/headers.cc)
add_library(doppler_instrumented_headers OBJECT ${CMAKE_BINARY_DIR}/headers.cc)
foreach(target doppler_headers doppler_instrumented_headers)
  target_link_libraries(${target} PRIVATE fmt::fmt nlohmann_json::nlohmann_json Threads::Threads)
  target_precompile_headers(${target} PRIVATE ${DOPPLER_PRECOMPILED_HEADERS})
endforeach()
if(DOPPLER_TESTS)
  target_link_libraries(doppler_headers PRIVATE GTest::gmock GTest::gtest)
  target_precompile_headers(doppler_headers PRIVATE <gmock/gmock.h> <gtest/gtest.h>)
endif()
if(DOPPLER_FUZZ)
  target_compile_options(doppler_instrumented_headers PRIVATE -fsanitize=fuzzer-no-link)
endif()
