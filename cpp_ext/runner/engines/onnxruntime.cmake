# Only types and constants are taken from the header: any architecture's copy will do.
set(ORT_ROOT "$ENV{ORT_ROOT}" CACHE PATH "Folder whose include/ has ONNX Runtime's C header")
find_path(BMOPT_RUNNER_ORT_INCLUDE onnxruntime_c_api.h
  HINTS ${ORT_ROOT} $ENV{ORT_ROOT} PATHS /usr /usr/local
  PATH_SUFFIXES include include/onnxruntime include/onnxruntime/core/session
  NO_CMAKE_FIND_ROOT_PATH)
if(BMOPT_RUNNER_ORT_INCLUDE)
  bmopt_runner_plugin(onnxruntime ${BMOPT_RUNNER_ORT_INCLUDE}
    engines/onnxruntime.cpp engines/onnxruntime_library.cpp engines/onnxruntime_session.cpp)
else()
  message(STATUS "bmopt runner: no onnxruntime_c_api.h, its plugin is left out; "
    "install libonnxruntime-dev or set ORT_ROOT")
endif()
