#include "kernels/probe.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/probe_loops.hpp"

namespace bmopt {
namespace {

using Clock = std::chrono::steady_clock;

// Some ten microseconds of arithmetic: long enough not to time the clock.
constexpr std::uint64_t kRounds = 2048;

// Words between two looks at the clock.
constexpr std::size_t kChunkWords = std::size_t{1} << 15;

// A thread's piece of work, done again and again; returns how many units it was.
using Piece = std::function<std::uint64_t()>;

double seconds_between(Clock::time_point start, Clock::time_point end) {
  return std::chrono::duration<double>(end - start).count();
}

// Runs `piece` for the time asked for, once all threads have done it once; returns units a second.
double timed(const Piece& piece, const Effort& effort, std::atomic<unsigned>& ready) {
  piece();
  ready.fetch_add(1);
  while (ready.load() < effort.threads) {
    std::this_thread::yield();
  }
  const auto start = Clock::now();
  const double wanted = effort.milliseconds * 1e-3;
  std::uint64_t units = 0;
  double elapsed = 0.0;
  do {
    units += piece();
    elapsed = seconds_between(start, Clock::now());
  } while (elapsed < wanted);
  return static_cast<double>(units) / elapsed;
}

double repetition(const std::vector<Piece>& pieces, const Effort& effort) {
  std::atomic<unsigned> ready{0};
  std::vector<double> rates(pieces.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 1; i < pieces.size(); ++i) {
    threads.emplace_back([&, i] { rates[i] = timed(pieces[i], effort, ready); });
  }
  rates[0] = timed(pieces[0], effort, ready);
  for (auto& thread : threads) {
    thread.join();
  }
  double sum = 0.0;
  for (const double rate : rates) {
    sum += rate;
  }
  return sum;
}

double best_rate(const std::vector<Piece>& pieces, const Effort& effort) {
  double best = 0.0;
  for (unsigned i = 0; i < effort.repetitions; ++i) {
    best = std::max(best, repetition(pieces, effort));
  }
  return best;
}

// What a loop computes is kept here, where no compiler may leave it out.
struct Sink {
  volatile double value = 0.0;
};

template <typename Operand>
double arithmetic_rate(const Loop<Operand>& loop, Operand first, Operand second,
                       const Effort& effort) {
  std::vector<Sink> sinks(effort.threads);
  std::vector<Piece> pieces;
  for (Sink& sink : sinks) {
    pieces.push_back([&sink, loop, first, second] {
      const Chain chain = loop.run(kRounds, first, second);
      sink.value = chain.sum;
      return chain.operations;
    });
  }
  return best_rate(pieces, effort);
}

// A thread's part of the buffer. Its thread touches it first, so that it lies near that thread.
class Part {
 public:
  explicit Part(std::size_t words) : words_(words), data_(new std::uint64_t[words]) {}

  void fill() {
    if (!filled_) {
      std::fill_n(data_.get(), words_, std::uint64_t{1});
      filled_ = true;
    }
  }

  // The next chunk of the first `words` words, from the start again after the last one.
  Span<std::uint64_t> next(std::size_t words) {
    position_ = position_ < words ? position_ : 0;
    const std::size_t begin = position_;
    position_ += kChunkWords;
    return {data_.get() + begin, std::min(kChunkWords, words - begin)};
  }

  std::size_t words() const { return words_; }

 private:
  std::size_t words_;
  std::unique_ptr<std::uint64_t[]> data_;
  std::size_t position_ = 0;
  bool filled_ = false;
};

std::vector<Part> parts_of(std::size_t bytes, unsigned threads) {
  std::vector<Part> parts;
  for (unsigned i = 0; i < threads; ++i) {
    parts.emplace_back(std::max<std::size_t>(2, bytes / sizeof(std::uint64_t) / threads));
  }
  return parts;
}

}  // namespace

double float32_rate(const Effort& effort) {
  return arithmetic_rate(float32_loop(), 0.5f, 1.0f, effort);
}

double int8_rate(const Effort& effort) {
  return arithmetic_rate(int8_loop(), 3, 2, effort);
}

double read_rate(std::size_t bytes, const Effort& effort) {
  std::vector<Part> parts = parts_of(bytes, effort.threads);
  std::vector<Sink> sinks(effort.threads);
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    pieces.push_back([&part = parts[i], &sink = sinks[i]] {
      part.fill();
      const Span<std::uint64_t> chunk = part.next(part.words());
      sink.value = static_cast<double>(sum_words({chunk.data, chunk.size}));
      return chunk.size * sizeof(std::uint64_t);
    });
  }
  return best_rate(pieces, effort);
}

double copy_rate(std::size_t bytes, const Effort& effort) {
  std::vector<Part> parts = parts_of(bytes, effort.threads);
  std::vector<Piece> pieces;
  for (Part& part : parts) {
    pieces.push_back([&part] {
      part.fill();
      const std::size_t half = part.words() / 2;
      const Span<std::uint64_t> from = part.next(half);
      std::memcpy(from.data + half, from.data, from.size * sizeof(std::uint64_t));
      return 2 * from.size * sizeof(std::uint64_t);
    });
  }
  return best_rate(pieces, effort);
}

}  // namespace bmopt
