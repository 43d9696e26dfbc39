# The plugins of TensorRT and TensorRT-RTX, each where its SDK's headers are found.
#
# TENSORRT_ROOT, TENSORRT_RTX_ROOT: folders with include/NvInferRuntime.h, as variables of CMake (a
# list) or of the environment (with colons). Several make one plugin that runs with all of them:
# TensorRT 10 and 11, or releases of TensorRT-RTX.
foreach(name TENSORRT_ROOT TENSORRT_RTX_ROOT)
  string(REPLACE ":" ";" folders "$ENV{${name}}")
  set(${name} "${folders}" CACHE STRING "Folders that have the SDK's headers in include/")
endforeach()

# In `result` those of the folders `roots` that have headers of TensorRT-RTX (`is_rtx`) or not.
function(bmopt_find_tensorrt_headers result is_rtx roots)
  set(found)
  foreach(root IN LISTS roots)
    unset(folder CACHE)
    unset(folder)
    find_path(folder NvInferRuntime.h PATHS ${root} PATH_SUFFIXES include
      ${CMAKE_LIBRARY_ARCHITECTURE} include/${CMAKE_LIBRARY_ARCHITECTURE}
      NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
    if(folder)
      file(STRINGS ${folder}/NvInferVersion.h marks REGEX "define TRT_MAJOR_RTX ")
      if((is_rtx AND marks) OR (NOT is_rtx AND NOT marks))
        list(APPEND found ${folder})
      endif()
    endif()
    unset(folder CACHE)
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${result} ${found} PARENT_SCOPE)
endfunction()

# The number that NvInferVersion.h gives for a part of the version, MAJOR or MINOR.
function(bmopt_tensorrt_version result folder part)
  file(STRINGS ${folder}/NvInferVersion.h line
    REGEX "define (TRT_${part}_[A-Z]+|NV_TENSORRT_${part}) +[0-9]+")
  string(REGEX REPLACE ".*define [A-Z_]+ +([0-9]+).*" "\\1" number "${line}")
  set(${result} ${number} PARENT_SCOPE)
endfunction()

# The adapter for a folder of headers, in the plugin; its name in `result`.
function(bmopt_tensorrt_adapter result plugin folder)
  bmopt_tensorrt_version(major ${folder} MAJOR)
  bmopt_tensorrt_version(minor ${folder} MINOR)
  set(sdk ${plugin}_${major}_${minor})
  set(${result} ${sdk} PARENT_SCOPE)
  if(TARGET bm_adapter_${sdk})
    return()
  endif()
  message(STATUS "bmopt runner: the plugin ${plugin} is for ${major}.${minor} (${folder})")
  add_library(bm_adapter_${sdk} OBJECT engines/tensorrt_adapter.cpp)
  target_include_directories(bm_adapter_${sdk} PRIVATE include src engines)
  target_include_directories(bm_adapter_${sdk} SYSTEM PRIVATE ${folder} engines/cuda_types)
  # Inline functions of the SDK's classes would be merged, and fit one version only.
  target_compile_definitions(bm_adapter_${sdk} PRIVATE BM_SDK=${sdk} nvinfer1=nvinfer1_${sdk})
  bmopt_runner_options(bm_adapter_${sdk})
endfunction()

# A plugin for all of these folders of headers.
function(bmopt_tensorrt_plugin name folders)
  set(sources engines/cuda.cpp)
  foreach(part bind file library log open plugin port session shape)
    list(APPEND sources engines/tensorrt_${part}.cpp)
  endforeach()
  set(sdks)
  foreach(folder IN LISTS folders)
    bmopt_tensorrt_adapter(sdk ${name} ${folder})
    list(APPEND sdks ${sdk})
  endforeach()
  list(REMOVE_DUPLICATES sdks)
  list(TRANSFORM sdks REPLACE "(.+)" "$<TARGET_OBJECTS:bm_adapter_\\1>" OUTPUT_VARIABLE objects)
  list(TRANSFORM sdks REPLACE "(.+)" "SDK(\\1)")
  list(JOIN sdks " " sdks)
  bmopt_runner_plugin(${name} engines/cuda_types ${sources} ${objects})
  target_compile_definitions(bm_engine_${name} PRIVATE "BM_SDKS=${sdks}")
  if(name STREQUAL tensorrt_rtx)
    target_compile_definitions(bm_engine_${name} PRIVATE BM_TENSORRT_RTX)
  endif()
endfunction()

bmopt_find_tensorrt_headers(BMOPT_TENSORRT_HEADERS FALSE
  "${TENSORRT_ROOT};/usr;/usr/local;/usr/local/tensorrt;/opt/tensorrt")
bmopt_find_tensorrt_headers(BMOPT_TENSORRT_RTX_HEADERS TRUE
  "${TENSORRT_RTX_ROOT};/usr;/usr/local;/usr/local/tensorrt_rtx;/opt/tensorrt_rtx")
if(BMOPT_TENSORRT_HEADERS)
  bmopt_tensorrt_plugin(tensorrt "${BMOPT_TENSORRT_HEADERS}")
else()
  message(STATUS "bmopt runner: no NvInferRuntime.h, the plugin of TensorRT is left out; "
    "set TENSORRT_ROOT")
endif()
if(BMOPT_TENSORRT_RTX_HEADERS)
  bmopt_tensorrt_plugin(tensorrt_rtx "${BMOPT_TENSORRT_RTX_HEADERS}")
else()
  message(STATUS "bmopt runner: no headers of TensorRT-RTX, its plugin is left out; "
    "set TENSORRT_RTX_ROOT")
endif()
