#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "manifest.h"

namespace bm {

constexpr std::size_t kManifestBytes = std::size_t{4} << 20;

struct Bundle {
  std::string folder;
  Manifest manifest;

  std::string path(const std::string& relative) const { return folder + "/" + relative; }
};

// Read a bundle's manifest. Throws Failure (BM_BAD_INPUT).
Bundle read_bundle(const std::string& folder);

// Compare every file with SHA256SUMS and the manifest. Throws Failure (BM_UNTRUSTED) at a file
// that is changed, missing, in no list, or a link. A signature is not looked at.
void check_sums(const Bundle& bundle);

// Why this host cannot run the bundle, or one of its models as far as its CPU can tell; empty
// where it can. The engine's own demands show when it is opened.
std::string platform_fault(const Bundle& bundle);
std::string model_fault(const ModelSpec& model);

// What can be told of the model's file without reading it. Throws Failure (BM_BAD_INPUT) where it
// is missing or reached through a link, (BM_UNTRUSTED) where its size is another.
void check_model_file(const Bundle& bundle, const ModelSpec& model);

// The models to try in this order: the one called `name`, or all where it is empty.
// Throws Failure (BM_BAD_INPUT) where there is none of that name.
std::vector<const ModelSpec*> candidates(const Bundle& bundle, const std::string& name);

// The model of that name. Throws Failure (BM_BAD_INPUT).
const ModelSpec& model_named(const Bundle& bundle, const std::string& name);

}  // namespace bm
