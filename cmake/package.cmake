# What `cmake --install` puts where, and how other projects find it:
#
#   include/pith/pith.h, include/pith/post/*.h     the C interfaces
#   lib/libpith_runtime.a, lib/libpith_post.a      without dependencies (post: libm)
#   lib/cmake/pith, lib/pkgconfig                  find_package(pith): pith::runtime, pith::post; pkg-config pith-runtime, pith-post
#
# `cpack` in the build folder makes a .deb of it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(pith_config ${CMAKE_INSTALL_LIBDIR}/cmake/pith)
install(FILES runtime/include/pith/pith.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pith COMPONENT runtime)
file(GLOB pith_post_headers ${PROJECT_SOURCE_DIR}/post/*.h)
list(FILTER pith_post_headers EXCLUDE REGEX "(internal|exact_math|c_use_test|test_random)\\.h$")
install(FILES ${pith_post_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/pith/post COMPONENT runtime)
install(FILES $<TARGET_FILE:pith_runtime> $<TARGET_FILE:pith_post> DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT runtime)

configure_package_config_file(cmake/pith-config.cmake.in ${CMAKE_BINARY_DIR}/package/pith-config.cmake INSTALL_DESTINATION ${pith_config}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/pith-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/pith-config.cmake ${CMAKE_BINARY_DIR}/package/pith-config-version.cmake DESTINATION ${pith_config}
  COMPONENT runtime)
foreach(library runtime post)
  configure_file(cmake/pith-${library}.pc.in ${CMAKE_BINARY_DIR}/package/pith-${library}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/package/pith-${library}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT runtime)
endforeach()

set(CPACK_PACKAGE_NAME pith)
set(CPACK_PACKAGE_VENDOR pith)
set(CPACK_PACKAGE_CONTACT "pith maintainers <maintainers@users.noreply.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Compresses trained networks into small files that execute in compressed form")
set(CPACK_GENERATOR DEB)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_STRIP_FILES ON)
include(CPack)
