// What an engine's context is told before a run: the profile, the shapes and the addresses.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <tuple>

#include "failure.h"
#include "tensorrt_log.h"
#include "tensorrt_session.h"

namespace bm::trt {
namespace {

[[noreturn]] void outside(const EnginePort& port, const Shape& shape) {
  std::string spans;
  for (const ShapeSpan& span : port.profiles) {
    spans += (spans.empty() ? "" : " or ") + span.low.text() + " to " + span.high.text();
  }
  bad_input("input '" + port.name + "' has shape " + shape.text() +
            ", and the engine was built for " + spans + "; feed one in that range");
}

}  // namespace

void Session::bind(const bm_tensor* inputs) {
  const int profile = choose_profile(inputs);
  const bool is_same = !stage(inputs) && profile == profile_ && is_bound_ && !reads_host_;
  if (is_same) {
    return;
  }
  is_bound_ = false;
  forget_errors();
  select_profile(profile);
  bind_inputs();
  bind_outputs();
  is_bound_ = true;
}

// Copy the inputs to pinned memory; whether a shape or an address is another than the last time.
bool Session::stage(const bm_tensor* inputs) {
  bool is_changed = false;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    Port& port = *inputs_[i];
    const Shape shape = shape_of(inputs[i]);
    const void* before = port.address();
    const bool is_same_shape = port.shape() == shape;
    const bool is_same_place = port.reserve(shape) == before;
    is_changed = is_changed || !is_same_shape || !is_same_place;
    port.write(inputs[i].data);
  }
  return is_changed;
}

// Of the profiles that allow all shapes one made for exactly them, else the tightest.
int Session::choose_profile(const bm_tensor* inputs) const {
  const int count = profile_count();
  int best = 0;
  auto least = std::make_tuple(true, std::numeric_limits<std::int64_t>::max());
  bool is_found = count == 0;
  for (int index = 0; index < count; ++index) {
    const auto looseness = looseness_of(inputs, index);
    if (looseness && (!is_found || *looseness < least)) {
      least = *looseness;
      best = index;
      is_found = true;
    }
  }
  if (!is_found) {
    refuse_shapes(inputs);
  }
  return best;
}

int Session::profile_count() const {
  std::size_t count = 0;
  for (const auto& port : inputs_) {
    count = std::max(count, port->description().profiles.size());
  }
  return static_cast<int>(count);
}

// Whether a profile is made for other shapes, and how much it allows; nothing where it does not
// allow these.
std::optional<std::tuple<bool, std::int64_t>> Session::looseness_of(const bm_tensor* inputs,
                                                                    int index) const {
  bool is_unusual = false;
  std::int64_t elements = 0;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const EnginePort& port = inputs_[i]->description();
    if (port.profiles.empty()) {
      continue;
    }
    const ShapeSpan& span = port.profiles[static_cast<std::size_t>(index)];
    const Shape shape = shape_of(inputs[i]);
    if (!span.has(shape)) {
      return std::nullopt;
    }
    is_unusual = is_unusual || !(span.usual == shape);
    elements += span.high.elements();
  }
  return std::make_tuple(is_unusual, elements);
}

void Session::refuse_shapes(const bm_tensor* inputs) const {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const EnginePort& port = inputs_[i]->description();
    const Shape shape = shape_of(inputs[i]);
    if (!port.profiles.empty() && !port.profiles.front().has(shape)) {
      outside(port, shape);
    }
  }
  bad_input("no profile of the engine allows these shapes together; feed others");
}

void Session::select_profile(int profile) {
  if (profile != profile_) {
    require(engine_->select_profile(profile, queue_->stream()),
            "optimisation profile " + std::to_string(profile));
    queue_->wait();
    profile_ = profile;
  }
}

void Session::bind_inputs() {
  for (const auto& port : inputs_) {
    if (port->is_dynamic() && !engine_->set_shape(port->name(), port->shape())) {
      bad_input("the engine refuses shape " + port->shape().text() + " of '" + port->name() + "'" +
                because());
    }
    require(engine_->set_address(port->name(), port->address()), port->description().name);
  }
}

void Session::bind_outputs() {
  for (const auto& port : outputs_) {
    if (port->description().is_on_host) {
      // Computed while shapes are inferred, so its memory has to be there before.
      place(*port, port->description().shape);
    }
  }
  if (!engine_->infer_shapes()) {
    bad_input("the inputs' shapes do not go together" + because());
  }
  for (const auto& port : outputs_) {
    const Shape shape = engine_->shape(port->name());
    if (!shape.is_known()) {
      defer(*port);
    } else if (!port->description().is_on_host) {
      place(*port, shape);
    }
  }
}

void Session::place(Port& port, const Shape& shape) {
  void* address = port.reserve(shape);
  require(engine_->set_address(port.name(), address),
          "the memory of '" + port.description().name + "'");
}

void Session::defer(Port& port) {
  if (!port.is_late()) {
    require(engine_->set_late(port.name(), &port),
            "an allocator for '" + port.description().name + "'");
    port.make_late();
  }
}

}  // namespace bm::trt
