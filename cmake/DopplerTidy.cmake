# doppler_tidy_unit(NAME TARGET...): one source of all sources of these targets, for clang-tidy, which
# spends most of its time in the headers of libraries. It is never built. Sources with compiler
# options of their own are read alone. The targets may not define the same names.
function(doppler_tidy_unit NAME)
  set(unit tidy_${NAME})
  add_library(${unit} OBJECT EXCLUDE_FROM_ALL)
  set_target_properties(${unit} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0)
  target_compile_options(${unit} PRIVATE -w)  # the compilers warn
  foreach(target ${ARGN})
    get_target_property(folder ${target} SOURCE_DIR)
    get_target_property(sources ${target} SOURCES)
    list(FILTER sources INCLUDE REGEX "\\.cc$")
    foreach(source ${sources})
      cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${folder})
      get_source_file_property(options ${source} TARGET_DIRECTORY ${target} COMPILE_OPTIONS)
      if(NOT options)
        target_sources(${unit} PRIVATE ${source})
      endif()
    endforeach()
    target_include_directories(${unit} PRIVATE $<TARGET_PROPERTY:${target},INCLUDE_DIRECTORIES>)
    target_compile_definitions(${unit} PRIVATE $<TARGET_PROPERTY:${target},COMPILE_DEFINITIONS>)
    target_link_libraries(${unit} PRIVATE $<TARGET_PROPERTY:${target},LINK_LIBRARIES>)
  endforeach()
endfunction()

doppler_tidy_unit(foundation doppler_base doppler_io doppler_backend doppler_format doppler_store
                  doppler_text)
doppler_tidy_unit(engine doppler_tier doppler_engine doppler-swarm)
doppler_tidy_unit(programs doppler_model doppler_swarm doppler)
doppler_tidy_unit(convert doppler_convert doppler_synth_lib doppler_synth)
doppler_tidy_unit(others doppler_cli doppler_test_support doppler_allocation_guard doppler_render)
