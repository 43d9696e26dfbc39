// A loaded engine, from open to close: one stream, and memory that is kept from run to run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bmopt_engine.h"
#include "cuda.h"
#include "tensorrt_port.h"
#include "tensorrt_sdk.h"

namespace bm::trt {

class Session {
 public:
  // Throws Failure.
  explicit Session(const bm_session_config& config);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Throws Failure.
  void run(const bm_tensor* inputs, bm_tensor* outputs);
  const char* version() const { return version_.c_str(); }

 private:
  using Ports = std::vector<std::unique_ptr<Port>>;

  Session() = default;

  void make_ports(const bm_session_config& config);
  Ports take(std::vector<EnginePort>& all, const bm_tensor_info* infos, std::size_t count,
             bool is_input);

  void run_here(const bm_tensor* inputs, bm_tensor* outputs);
  void enqueue();
  void check_outputs(bm_tensor* outputs) const;
  void deliver(bm_tensor* outputs) const;
  void require(bool is_accepted, const std::string& what) const;

  // In tensorrt_bind.cpp.
  void bind(const bm_tensor* inputs);
  bool stage(const bm_tensor* inputs);
  int choose_profile(const bm_tensor* inputs) const;
  int profile_count() const;
  std::optional<std::tuple<bool, std::int64_t>> looseness_of(const bm_tensor* inputs,
                                                             int profile) const;
  [[noreturn]] void refuse_shapes(const bm_tensor* inputs) const;
  void select_profile(int profile);
  void bind_inputs();
  void bind_outputs();
  void place(Port& port, const Shape& shape);
  void defer(Port& port);

  std::string version_;
  std::unique_ptr<Cuda> cuda_;
  std::unique_ptr<CudaQueue> queue_;
  Ports inputs_;
  Ports outputs_;
  std::unique_ptr<Engine> engine_;
  bool reads_host_ = false;  // Shapes depend on values too, so that all is told it every time.
  bool is_bound_ = false;
  int profile_ = 0;
};

}  // namespace bm::trt
