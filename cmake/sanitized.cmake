# Tests that run again under sanitizers in `make test`: they read untrusted bytes or do pointer arithmetic.
#   pith_sanitized(test targets...)   makes the target sanitized_tests and names them for ctest -R in sanitized_tests.txt;
#                                     a fuzz target's replay brings the inputs that once failed
function(pith_sanitized)
  add_custom_target(sanitized_tests DEPENDS ${ARGN})
  string(JOIN "|" names ${ARGN})
  string(REPLACE "_replay" "_(replay|regressions)" names "${names}")
  file(WRITE ${CMAKE_BINARY_DIR}/sanitized_tests.txt "^(${names})$")
endfunction()
