#include "kernels/tally.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

namespace bmopt {
namespace {

// Below this, starting a thread costs more than it saves.
constexpr std::size_t kMinPerThread = std::size_t{1} << 18;

// Below this, clearing and flushing the lanes costs more than they save.
constexpr std::size_t kMinForLanes = 2 * kBlock;

// Streams blocks into a tally.
class Accumulator {
 public:
  Accumulator(Tally& tally, bool use_lanes) : tally_(tally) {
    if (use_lanes) {
      lanes_.emplace();
    }
  }

  void add(Span<const float> block) {
    const BlockScan scan = scan_block(block);
    if (scan.is_finite()) {
      add_finite(block, scan);
      return;
    }
    std::array<float, kBlock> finite;
    const Span<const float> kept{finite.data(), keep_finite(block, finite.data())};
    if (kept.size != 0) {
      add_finite(kept, scan_block(kept));
    }
  }

  Extremes finish() {
    flush_lanes();
    tally_.low = std::min(tally_.low, extremes_.low);
    tally_.high = std::max(tally_.high, extremes_.high);
    return extremes_;
  }

 private:
  void add_finite(Span<const float> block, const BlockScan& scan) {
    tally_.finite += block.size;
    tally_.zeros += scan.zeros;
    extremes_.include(float_of_key(scan.min_key), float_of_key(scan.max_key));
    if (scan.max_magnitude_bits == 0) {
      return;
    }
    cover(std::max(std::abs(float_of_key(scan.min_key)), std::abs(float_of_key(scan.max_key))));
    bin_block(block, tally_.histogram.scale(), bins_.data());
    count({bins_.data(), block.size});
  }

  void cover(float magnitude) {
    const int exponent = Histogram::exponent_for(magnitude);
    if (exponent <= tally_.histogram.exponent()) {
      return;
    }
    flush_lanes();
    tally_.histogram.cover(exponent);
  }

  void flush_lanes() {
    if (lanes_) {
      lanes_->flush(tally_.histogram);
    }
  }

  void count(Span<const std::uint16_t> bins) {
    if (lanes_) {
      lanes_->count(bins, tally_.histogram);
      return;
    }
    for (const std::uint16_t bin : bins) {
      if (bin < kBins) {
        tally_.histogram.add(bin, 1);
      }
    }
  }

  std::size_t keep_finite(Span<const float> block, float* kept) {
    std::size_t size = 0;
    for (const float value : block) {
      if (std::isfinite(value)) {
        kept[size++] = value;
      } else if (std::isnan(value)) {
        ++tally_.nans;
      } else {
        ++tally_.infinities;
      }
    }
    return size;
  }

  Tally& tally_;
  std::optional<LaneCounter> lanes_;
  std::array<std::uint16_t, kBlock> bins_;
  Extremes extremes_;
};

Extremes accumulate_serial(Span<const float> values, Tally& tally) {
  Accumulator accumulator(tally, values.size >= kMinForLanes);
  for (std::size_t start = 0; start < values.size; start += kBlock) {
    accumulator.add(values.subspan(start, std::min(kBlock, values.size - start)));
  }
  return accumulator.finish();
}

}  // namespace

void Extremes::include(float smaller, float larger) {
  low = std::min(low, smaller);
  high = std::max(high, larger);
}

void Tally::merge(const Tally& other) {
  finite += other.finite;
  zeros += other.zeros;
  infinities += other.infinities;
  nans += other.nans;
  low = std::min(low, other.low);
  high = std::max(high, other.high);
  histogram.merge(other.histogram);
}

Extremes accumulate(Span<const float> values, unsigned threads, Tally& tally) {
  const std::size_t parts =
      std::clamp<std::size_t>(values.size / kMinPerThread, 1, std::max(threads, 1u));
  if (parts == 1) {
    return accumulate_serial(values, tally);
  }
  std::vector<Tally> partial(parts);
  std::vector<std::thread> workers;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t start = values.size * part / parts;
    const std::size_t end = values.size * (part + 1) / parts;
    workers.emplace_back([&partial, part, chunk = values.subspan(start, end - start)] {
      accumulate_serial(chunk, partial[part]);
    });
  }
  Extremes extremes;
  for (std::size_t part = 0; part < parts; ++part) {
    workers[part].join();
    tally.merge(partial[part]);
    extremes.include(partial[part].low, partial[part].high);
  }
  return extremes;
}

}  // namespace bmopt
