// Stands in for CUDA's header of this name: TensorRT's headers want these two names from it only.
#pragma once

typedef struct CUstream_st* cudaStream_t;
typedef struct CUevent_st* cudaEvent_t;
