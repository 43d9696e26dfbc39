#include "classes.h"

#include <algorithm>
#include <cmath>

#include "dtype.h"
#include "files.h"

namespace bm {
namespace {

constexpr std::size_t kLabelBytes = std::size_t{64} << 20;

bool is_before(const Ranked& a, const Ranked& b) {
  if (std::isnan(a.score) != std::isnan(b.score)) {
    return std::isnan(b.score);
  }
  return a.score != b.score && !std::isnan(a.score) ? a.score > b.score : a.index < b.index;
}

}  // namespace

std::vector<std::string> read_labels(const std::string& path) {
  const std::string text = read_file(path, kLabelBytes);
  std::vector<std::string> labels;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string line = text.substr(begin, end - begin);
    if (!line.empty() && line.back() == '\r') {
      line.pop_back();
    }
    labels.push_back(std::move(line));
    begin = end + 1;
  }
  return labels;
}

bool is_score_vector(const Array& output) {
  const std::size_t rank = output.shape.size();
  return (rank == 1 || (rank == 2 && output.shape[0] > 0)) && output.shape.back() > 1;
}

std::vector<Ranked> top_scores(const Array& output, std::size_t count) {
  std::vector<Ranked> ranked;
  const auto classes = static_cast<std::size_t>(output.shape.back());
  for (std::size_t i = 0; i < classes; ++i) {
    ranked.push_back({i, element(output.dtype, output.data.data(), i)});
  }
  const auto kept = static_cast<std::ptrdiff_t>(std::min(count, classes));
  std::partial_sort(ranked.begin(), ranked.begin() + kept, ranked.end(), is_before);
  ranked.resize(static_cast<std::size_t>(kept));
  return ranked;
}

}  // namespace bm
