#include "options.h"

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>

#include "failure.h"

namespace bm {
namespace {

constexpr double kMostSeconds = 86400;
constexpr double kMostThreads = 4096;
constexpr double kMostTop = 1e9;

constexpr char kHelp[] =
    R"(usage: bmopt-run BUNDLE [options]

Run a bundle that `bmopt package` made. Without an option it runs the first of its golden inputs
and prints the outputs.

  --input FILE      an input: .npy as the model takes it, or .jpg, .jpeg, .png, which the bundle's
                    preprocessing makes into one; once for each of the model's inputs, in order;
                    again for the next inference
  --output DIR      write the outputs as DIR/output_0.npy ...; of several inferences as DIR/0/...
  --top N           show the N highest scores with their labels (default: 5)
  --model NAME      this model of the bundle (default: the first that this host can run)
  --threads N       threads of the engine (default: 0, one for each core)
  --library PATH    the engine's runtime library (default: the bundle's, else the system's)
  --verify          check the bundle's files, its signature, this host, and the golden outputs
  --key KEY         with --verify: the ed25519 public key that must have signed: base64, or a file
                    with that or PEM
  --bench SECONDS   measure the latency of one inference after another
  --json            print one JSON document; that of --bench is for `bmopt report`
  --help            show this
  --version         show the version

Exit codes: 0 done, 2 bad input, 5 checksum or signature, 6 this host cannot run it, 7 golden
outputs differ, 70 a fault of the engine.
)";

double number_of(const std::string& text, const std::string& option, double least, double most) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  const bool is_number = !text.empty() && *end == '\0' && std::isfinite(value);
  if (!is_number || value < least || value > most) {
    bad_input(option + " " + text + ": give a number from " + std::to_string(std::lround(least)) +
              " to " + std::to_string(std::lround(most)));
  }
  return value;
}

long integer_of(const std::string& text, const std::string& option, double least, double most) {
  const double value = number_of(text, option, least, most);
  if (value != std::floor(value)) {
    bad_input(option + " " + text + ": give a whole number");
  }
  return std::lround(value);
}

void set_mode(ToolOptions* options, Mode mode) {
  if (options->mode != Mode::kRun && options->mode != mode) {
    bad_input("--verify and --bench exclude each other; give one of them");
  }
  options->mode = mode;
}

using Setter = std::function<void(ToolOptions*, const std::string&)>;

const std::map<std::string, Setter>& valued() {
  static const std::map<std::string, Setter> setters = {
      {"--input", [](ToolOptions* o, const std::string& v) { o->inputs.push_back(v); }},
      {"--output", [](ToolOptions* o, const std::string& v) { o->output = v; }},
      {"--model", [](ToolOptions* o, const std::string& v) { o->model = v; }},
      {"--library", [](ToolOptions* o, const std::string& v) { o->library = v; }},
      {"--key", [](ToolOptions* o, const std::string& v) { o->key = v; }},
      {"--top",
       [](ToolOptions* o, const std::string& v) {
         o->top = static_cast<std::size_t>(integer_of(v, "--top", 0, kMostTop));
       }},
      {"--threads",
       [](ToolOptions* o, const std::string& v) {
         o->threads = static_cast<std::int32_t>(integer_of(v, "--threads", 0, kMostThreads));
       }},
      {"--bench", [](ToolOptions* o, const std::string& v) {
         o->seconds = number_of(v, "--bench", 0, kMostSeconds);
         set_mode(o, Mode::kBench);
       }}};
  return setters;
}

const std::map<std::string, std::function<void(ToolOptions*)>>& plain() {
  static const std::map<std::string, std::function<void(ToolOptions*)>> setters = {
      {"--verify", [](ToolOptions* o) { set_mode(o, Mode::kVerify); }},
      {"--json", [](ToolOptions* o) { o->is_json = true; }},
  };
  return setters;
}

// Consume the argument at `at`, and its value; return the position after it.
std::size_t take(ToolOptions* options, const std::vector<std::string>& arguments, std::size_t at) {
  const std::string& argument = arguments[at];
  const std::size_t equals =
      argument.compare(0, 2, "--") == 0 ? argument.find('=') : argument.npos;
  const std::string name = argument.substr(0, equals);
  if (const auto found = valued().find(name); found != valued().end()) {
    const bool is_joined = equals != argument.npos;
    if (!is_joined && at + 1 == arguments.size()) {
      bad_input(name + ": needs a value; see --help");
    }
    const std::string value = is_joined ? argument.substr(equals + 1) : arguments[at + 1];
    if (value.empty()) {
      bad_input(name + ": has an empty value; see --help");
    }
    found->second(options, value);
    return at + (is_joined ? 1 : 2);
  }
  if (const auto found = plain().find(argument); found != plain().end()) {
    found->second(options);
  } else if (argument.size() > 1 && argument[0] == '-') {
    bad_input("unknown option " + argument + "; see --help");
  } else if (!options->bundle.empty() || argument.empty()) {
    bad_input("unexpected argument '" + argument + "'; inputs are given with --input");
  } else {
    options->bundle = argument;
  }
  return at + 1;
}

void check(const ToolOptions& options) {
  if (options.bundle.empty()) {
    bad_input("no bundle was given: bmopt-run BUNDLE; see --help");
  }
  const bool is_verify = options.mode == Mode::kVerify;
  if (is_verify && !options.inputs.empty()) {
    bad_input("--input: --verify runs the golden inputs; drop one of them");
  }
  if (options.mode != Mode::kRun && !options.output.empty()) {
    bad_input("--output: only an inference has outputs; drop --verify or --bench");
  }
  if (!is_verify && !options.key.empty()) {
    bad_input("--key: is for --verify; add it");
  }
  if (options.mode == Mode::kBench && !(options.seconds > 0)) {
    bad_input("--bench 0: give more than 0 seconds");
  }
}

std::string shell_quoted(const std::string& text) {
  const std::string plain_letters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain_letters) == std::string::npos) {
    return text;
  }
  std::string quoted = "'";
  for (const char letter : text) {
    quoted += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  }
  return quoted + "'";
}

}  // namespace

ToolOptions parse_options(const std::vector<std::string>& arguments) {
  ToolOptions options;
  options.command = "bmopt-run";
  for (const std::string& argument : arguments) {
    options.command += " " + shell_quoted(argument);
    if (argument == "--help" || argument == "-h" || argument == "--version") {
      options.mode = argument == "--version" ? Mode::kVersion : Mode::kHelp;
      return options;
    }
  }
  for (std::size_t at = 0; at < arguments.size();) {
    at = take(&options, arguments, at);
  }
  check(options);
  return options;
}

const char* help_text() {
  return kHelp;
}

}  // namespace bm
