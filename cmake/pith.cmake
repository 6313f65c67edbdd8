# One way to declare the project's parts, so that every folder's CMakeLists.txt is a few lines.
#
#   pith_library(NAME dir SOURCES... DEPS targets...)   a static library pith_NAME with the house's flags
#   pith_test(NAME SOURCES... DEPS targets... [LABELS labels...])   a GoogleTest program, one ctest entry

include(CMakeParseArguments)

add_library(pith_flags INTERFACE)
target_compile_features(pith_flags INTERFACE cxx_std_20 c_std_11)
target_include_directories(pith_flags INTERFACE ${PROJECT_SOURCE_DIR})
# Integer and table arithmetic is bit-identical everywhere: no fused multiply-add that the source doesn't ask for.
target_compile_options(pith_flags INTERFACE -Wall -Wextra -Werror -ffp-contract=off)
# GCC 12 sees overlaps in string concatenation that aren't there (GCC bug 105651).
target_compile_options(pith_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
if(PITH_SANITIZE)
  target_compile_options(pith_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(pith_flags INTERFACE -fsanitize=address,undefined)
endif()
if(PITH_FUZZ)
  target_compile_options(pith_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

function(pith_library name)
  cmake_parse_arguments(A "" "" "SOURCES;DEPS" ${ARGN})
  add_library(pith_${name} STATIC ${A_SOURCES})
  target_link_libraries(pith_${name} PUBLIC pith_flags ${A_DEPS})
  set_target_properties(pith_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()

function(pith_test name)
  if(NOT BUILD_TESTING)
    return()
  endif()
  cmake_parse_arguments(A "" "" "SOURCES;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${A_SOURCES})
  target_link_libraries(${name} PRIVATE pith_flags ${A_DEPS} GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  if(A_LABELS)
    set_tests_properties(${name} PROPERTIES LABELS "${A_LABELS}")
  endif()
  set_tests_properties(${name} PROPERTIES ENVIRONMENT "PITH_SOURCE_DIR=${PROJECT_SOURCE_DIR}")
endfunction()
