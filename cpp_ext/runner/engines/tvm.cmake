# Only C types and functions' signatures are taken from the headers, which every wheel of
# apache-tvm-ffi has in its folder tvm_ffi/include: any architecture's will do.
set(TVM_FFI_ROOT "$ENV{TVM_FFI_ROOT}" CACHE PATH "Folder whose include/ has tvm/ffi/c_api.h")
# Where it is installed for BMOPT_RUNNER_PYTHON, or the Python of the path; it is not imported.
if(NOT TVM_FFI_ROOT AND NOT BMOPT_RUNNER_TVM_INCLUDE)
  find_program(BMOPT_RUNNER_PYTHON NAMES python3 python NO_CMAKE_FIND_ROOT_PATH)
  if(BMOPT_RUNNER_PYTHON)
    execute_process(
      COMMAND ${BMOPT_RUNNER_PYTHON} -c
        "import importlib.util as i; print(*i.find_spec('tvm_ffi').submodule_search_locations)"
      OUTPUT_VARIABLE found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
find_path(BMOPT_RUNNER_TVM_INCLUDE tvm/ffi/c_api.h
  HINTS ${TVM_FFI_ROOT} ${found} PATHS /usr /usr/local PATH_SUFFIXES include
  NO_CMAKE_FIND_ROOT_PATH)
if(BMOPT_RUNNER_TVM_INCLUDE)
  bmopt_runner_plugin(tvm ${BMOPT_RUNNER_TVM_INCLUDE}
    engines/tvm.cpp engines/tvm_library.cpp engines/tvm_session.cpp engines/tvm_tensor.cpp
    engines/tvm_threads.cpp engines/tvm_value.cpp)
else()
  message(STATUS "bmopt runner: no tvm/ffi/c_api.h, TVM's plugin is left out; "
    "install apache-tvm-ffi or set TVM_FFI_ROOT to its folder tvm_ffi")
endif()
