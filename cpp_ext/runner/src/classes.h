#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "npy.h"

namespace bm {

struct Ranked {
  std::size_t index;
  double score;
};

// Read one label a line; "\r\n" ends a line too, an empty last line is none. Throws Failure
// (BM_BAD_INPUT).
std::vector<std::string> read_labels(const std::string& path);

// Whether an output is one vector of scores: [n] or [1, n] with n > 1, or a batch of such whose
// first counts.
bool is_score_vector(const Array& output);

// The `count` highest scores of the first vector, highest first, of equal ones the first; NaN
// comes last.
std::vector<Ranked> top_scores(const Array& output, std::size_t count);

// Whether outputs are those of a top-k in the graph, as bmopt's pass append-top-k names them:
// NAME_scores, highest first, and NAME_classes of the same shape.
bool are_ranked(const std::string& scores_name, const Array& scores,
                const std::string& classes_name, const Array& classes);

// The first `count` of such outputs' first vector.
std::vector<Ranked> ranked_scores(const Array& scores, const Array& classes, std::size_t count);

}  // namespace bm
