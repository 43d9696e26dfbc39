#include "classes.h"

#include <algorithm>
#include <cmath>

#include "dtype.h"
#include "files.h"

namespace bm {
namespace {

constexpr std::size_t kLabelBytes = std::size_t{64} << 20;

// What stands before `ending`; empty where the text does not end with it.
std::string stem_of(const std::string& text, const std::string& ending) {
  const bool ends = text.size() > ending.size() &&
                    text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
  return ends ? text.substr(0, text.size() - ending.size()) : "";
}

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

bool are_ranked(const std::string& scores_name, const Array& scores,
                const std::string& classes_name, const Array& classes) {
  const std::string stem = stem_of(scores_name, "_scores");
  return !stem.empty() && stem == stem_of(classes_name, "_classes") &&
         scores.shape == classes.shape && classes.dtype == BM_INT64 && scores.shape.size() == 2 &&
         scores.shape[0] > 0;
}

std::vector<Ranked> ranked_scores(const Array& scores, const Array& classes, std::size_t count) {
  std::vector<Ranked> ranked;
  const std::size_t kept = std::min(count, static_cast<std::size_t>(scores.shape.back()));
  for (std::size_t i = 0; i < kept; ++i) {
    const double index = element(classes.dtype, classes.data.data(), i);
    ranked.push_back({static_cast<std::size_t>(std::max(index, 0.0)),
                      element(scores.dtype, scores.data.data(), i)});
  }
  return ranked;
}

}  // namespace bm
