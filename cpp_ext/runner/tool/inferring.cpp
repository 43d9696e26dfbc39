#include <sys/stat.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "classes.h"
#include "dtype.h"
#include "failure.h"
#include "golden.h"
#include "inputs.h"
#include "json.h"
#include "json_text.h"
#include "modes.h"
#include "open_runner.h"

namespace bm {
namespace {

// What is shown of one output.
struct Shown {
  std::string name;
  std::string type;  // "float32 [1, 10]"
  const Array* array;
  std::string file;  // Where it was written; empty where it was not.
  std::vector<Ranked> top;
  std::size_t classes = 0;  // How many there are, where `top` has some of them.
};

struct Printer {
  const ToolOptions& options;
  const Bundle& bundle;
  const ModelSpec& model;
  std::vector<std::string> labels;

  std::string label(const Shown& shown, std::size_t index) const {
    return shown.classes == labels.size() && index < labels.size() ? labels[index] : "";
  }
};

void make_folder(const std::string& path) {
  if (mkdir(path.c_str(), 0777) != 0 && errno != EEXIST) {
    bad_input(path + ": cannot be made (" + std::strerror(errno) + ")");
  }
}

// Whoever reads the file sees the old one or the whole new one.
void replace_npy(const std::string& path, const Array& array) {
  const std::string part = path + ".part";
  write_npy(part, array);
  if (std::rename(part.c_str(), path.c_str()) != 0) {
    const std::string reason = std::strerror(errno);
    std::remove(part.c_str());
    bad_input(path + ": cannot be written (" + reason + ")");
  }
}

std::string output_folder(const ToolOptions& options, std::size_t index, std::size_t count) {
  if (options.output.empty()) {
    return "";
  }
  make_folder(options.output);
  if (count == 1) {
    return options.output;
  }
  const std::string folder = options.output + "/" + std::to_string(index);
  make_folder(folder);
  return folder;
}

// Whether output `index` has the scores whose classes the next output has.
bool is_ranked(const Printer& printer, const std::vector<Array>& outputs, std::size_t index) {
  const std::vector<TensorSpec>& specs = printer.model.outputs;
  return index + 1 < outputs.size() &&
         are_ranked(specs[index].name, outputs[index], specs[index + 1].name, outputs[index + 1]);
}

void rank(const Printer& printer, const std::vector<Array>& outputs, std::size_t index,
          Shown* shown) {
  const Array& array = outputs[index];
  if (is_ranked(printer, outputs, index)) {
    shown->top = ranked_scores(array, outputs[index + 1], printer.options.top);
    shown->classes = printer.labels.size();  // The graph does not tell.
  } else if (is_score_vector(array) && !(index > 0 && is_ranked(printer, outputs, index - 1))) {
    shown->top = top_scores(array, printer.options.top);
    shown->classes = static_cast<std::size_t>(array.shape.back());
  }
}

Shown show(const Printer& printer, std::size_t index, const std::vector<Array>& outputs,
           const std::string& folder) {
  const Array& array = outputs[index];
  Shown shown;
  shown.name = printer.model.outputs[index].name;
  shown.type = std::string(dtype_name(array.dtype)) + " " +
               shape_text(array.shape.data(), array.shape.size());
  shown.array = &array;
  if (!folder.empty()) {
    shown.file = folder + "/output_" + std::to_string(index) + ".npy";
    replace_npy(shown.file, array);
  }
  rank(printer, outputs, index, &shown);
  return shown;
}

void print_text(const Printer& printer, const Shown& shown) {
  std::printf("  %s: %s%s%s\n", shown.name.c_str(), shown.type.c_str(),
              shown.file.empty() ? "" : " -> ", shown.file.c_str());
  for (const Ranked& one : shown.top) {
    std::printf("    %12.6g  %zu  %s\n", one.score, one.index,
                printer.label(shown, one.index).c_str());
  }
}

std::string top_json(const Printer& printer, const Shown& shown) {
  std::vector<std::string> entries;
  for (const Ranked& one : shown.top) {
    JsonObject entry;
    entry.put_integer("index", static_cast<std::int64_t>(one.index));
    entry.put("score", json_number(one.score));
    const std::string label = printer.label(shown, one.index);
    entry.put("label", label.empty() ? "null" : json_quoted(label));
    entries.push_back(entry.text());
  }
  return json_list(entries);
}

std::string output_json(const Printer& printer, const Shown& shown) {
  JsonObject output;
  output.put_text("name", shown.name);
  output.put_text("dtype", dtype_name(shown.array->dtype));
  output.put("shape", json_integers(shown.array->shape));
  output.put("file", shown.file.empty() ? "null" : json_quoted(shown.file));
  output.put("top", top_json(printer, shown));
  return output.text();
}

std::string joined(const std::vector<std::string>& texts) {
  std::string line;
  for (const std::string& text : texts) {
    line += (line.empty() ? "" : ", ") + text;
  }
  return line;
}

// Show one inference: as text at once, as JSON in what is returned.
std::string present(const Printer& printer, const Feeds& feeds, const std::vector<Array>& outputs,
                    const std::string& folder) {
  std::vector<std::string> documents;
  if (!printer.options.is_json) {
    std::printf("%s\n", joined(feeds.files).c_str());
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const Shown shown = show(printer, i, outputs, folder);
    if (printer.options.is_json) {
      documents.push_back(output_json(printer, shown));
    } else {
      print_text(printer, shown);
    }
  }
  JsonObject inference;
  inference.put("inputs", json_texts(feeds.files)).put("outputs", json_list(documents));
  return inference.text();
}

std::vector<std::string> labels_of(const Bundle& bundle) {
  const std::string& file = bundle.manifest.labels;
  return file.empty() ? std::vector<std::string>{} : read_labels(bundle.path(file));
}

std::string document(const Printer& printer, const OpenRunner& runner,
                     const std::vector<std::string>& inferences) {
  JsonObject whole;
  whole.put_integer("bmopt_run", 1);
  whole.put_text("bundle", printer.bundle.manifest.name);
  whole.put_text("model", printer.model.name).put_text("target", printer.model.target);
  whole.put_text("engine", runner.engine_version());
  whole.put("inferences", json_list(inferences));
  return whole.text();
}

}  // namespace

void run_inferences(const ToolOptions& options) {
  const Bundle bundle = read_bundle(options.bundle);
  const OpenRunner runner(options.bundle, options);
  const ModelSpec& model = runner.model(bundle);
  const Printer printer{options, bundle, model, labels_of(bundle)};
  std::vector<Feeds> all = read_feeds(bundle, model, options.inputs);
  std::vector<Array> outputs = blank_outputs(bundle, model);
  if (!options.is_json) {
    std::printf("%s (%s) on %s\n", model.name.c_str(), model.target.c_str(),
                runner.engine_version().c_str());
  }
  std::vector<std::string> inferences;
  for (std::size_t i = 0; i < all.size(); ++i) {
    run_growing(runner.get(), all[i].arrays, outputs);
    const std::string folder = output_folder(options, i, all.size());
    inferences.push_back(present(printer, all[i], outputs, folder));
  }
  if (options.is_json) {
    std::printf("%s\n", document(printer, runner, inferences).c_str());
  }
}

}  // namespace bm
