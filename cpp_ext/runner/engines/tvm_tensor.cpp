#include "tvm_tensor.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "dtype.h"
#include "failure.h"

namespace bm::tvm {
namespace {

constexpr std::size_t kAlignment = 64;  // Of every pointer that TVM's compiled code is given.

// A tensor of the caller's, until TVM has no more use for it.
struct Lent {
  DLManagedTensor managed;
  std::int64_t shape[BM_MAX_RANK];
};

void forget(DLManagedTensor* managed) {
  delete static_cast<Lent*>(managed->manager_ctx);
}

DLDataTypeCode code_of(bm_dtype dtype) {
  switch (dtype) {
    case BM_FLOAT16:
    case BM_FLOAT32:
    case BM_FLOAT64:
      return kDLFloat;
    case BM_BOOL:
      return kDLBool;
    case BM_INT8:
    case BM_INT16:
    case BM_INT32:
    case BM_INT64:
      return kDLInt;
    default:
      return kDLUInt;
  }
}

DLDataType type_of(bm_dtype dtype) {
  return {static_cast<std::uint8_t>(code_of(dtype)),
          static_cast<std::uint8_t>(8 * dtype_bytes(dtype)), 1};
}

bool is_same(const DLDataType& found, const DLDataType& wanted) {
  return found.code == wanted.code && found.bits == wanted.bits && found.lanes == wanted.lanes;
}

bool is_like(const Value& tensor, const bm_tensor& input) {
  const DLTensor& found = *TVMFFITensorGetDLTensorPtr(tensor.object());
  return found.ndim == input.rank && is_same(found.dtype, type_of(input.dtype)) &&
         std::equal(input.shape, input.shape + input.rank, found.shape);
}

bool is_dense(const DLTensor& tensor) {
  std::int64_t stride = 1;
  for (std::int32_t i = tensor.ndim; tensor.strides != nullptr && i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != stride) return false;
    stride *= tensor.shape[i];
  }
  return true;
}

[[noreturn]] void misfit(const bm_tensor_info& info, const char* what) {
  bad_input("output '" + std::string(info.name) + "' " + what);
}

std::size_t bytes_of(const DLTensor& tensor) {
  std::size_t bytes = (tensor.dtype.bits + std::size_t{7}) / 8;
  for (std::int32_t i = 0; i < tensor.ndim; ++i)
    bytes *= static_cast<std::size_t>(tensor.shape[i]);
  return bytes;
}

}  // namespace

void InputTensor::Free::operator()(void* memory) const {
  std::free(memory);
}

void* InputTensor::aligned(const bm_tensor& input) {
  if (input.data != nullptr && reinterpret_cast<std::uintptr_t>(input.data) % kAlignment == 0)
    return input.data;
  if (copy_ == nullptr || copy_bytes_ < input.bytes) {
    copy_bytes_ = (input.bytes / kAlignment + 1) * kAlignment;
    copy_.reset(std::aligned_alloc(kAlignment, copy_bytes_));
    if (copy_ == nullptr) throw std::bad_alloc();
  }
  if (input.bytes > 0) std::memcpy(copy_.get(), input.data, input.bytes);
  return copy_.get();
}

void InputTensor::create(const char* name, const bm_tensor& input, void* data) {
  auto lent = std::make_unique<Lent>();
  std::copy(input.shape, input.shape + input.rank, lent->shape);
  lent->managed.dl_tensor = {data,        {kDLCPU, 0}, input.rank, type_of(input.dtype),
                             lent->shape, nullptr,     0};
  lent->managed.manager_ctx = lent.get();
  lent->managed.deleter = forget;
  TVMFFIObjectHandle tensor = nullptr;
  check(*library_, library_->tensor_from_dlpack(&lent->managed, 0, 0, &tensor), BM_INTERNAL,
        std::string("input '") + name + "'");
  lent.release();
  tensor_ = Value(*library_, tensor, kTVMFFITensor);
  data_ = data;
}

const TVMFFIAny& InputTensor::bind(const char* name, const bm_tensor& input) {
  void* const data = aligned(input);
  if (tensor_.is_none() || data_ != data || !is_like(tensor_, input)) create(name, input, data);
  return tensor_.any();
}

const DLTensor& output_tensor(const Value& value, const bm_tensor_info& info) {
  if (!value.is(kTVMFFITensor)) misfit(info, "is no tensor in the model");
  const DLTensor& tensor = *TVMFFITensorGetDLTensorPtr(value.object());
  if (!is_same(tensor.dtype, type_of(info.dtype)))
    misfit(info, "has another dtype in the model than in the manifest");
  if (tensor.ndim > BM_MAX_RANK) misfit(info, "has too many axes");
  if (tensor.device.device_type != kDLCPU || !is_dense(tensor))
    misfit(info, "is not dense in the CPU's memory");
  return tensor;
}

void tell_output(const DLTensor& tensor, const bm_tensor_info& info, bm_tensor& output) {
  output.dtype = info.dtype;
  output.rank = tensor.ndim;
  std::copy(tensor.shape, tensor.shape + tensor.ndim, output.shape);
}

void copy_output(const DLTensor& tensor, const bm_tensor_info& info, bm_tensor& output) {
  const std::size_t bytes = bytes_of(tensor);
  if (bytes > output.bytes)
    bad_input("output " + std::string(info.name) + ": has room for " +
              std::to_string(output.bytes) + " bytes, needs " + std::to_string(bytes));
  if (bytes > 0)
    std::memmove(output.data, static_cast<const char*>(tensor.data) + tensor.byte_offset, bytes);
}

}  // namespace bm::tvm
