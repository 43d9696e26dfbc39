#include "bench_document.h"

#include <time.h>

#include <cstdint>

#include "files.h"
#include "json.h"
#include "json_text.h"

namespace bm {
namespace {

constexpr int kDocumentVersion = 1;
constexpr int kMeasurementVersion = 2;

std::string integer(double value) {
  return value < 0 ? "null" : std::to_string(static_cast<std::int64_t>(value));
}

std::string object_of(const Facts& facts) {
  JsonObject object;
  for (const auto& [name, json] : facts) {
    object.put(name, json);
  }
  return object.text();
}

std::string engine_name(const BenchResult& result) {
  return result.engine.substr(0, result.engine.find(' '));
}

std::string engine_version(const BenchResult& result) {
  const std::size_t blank = result.engine.find(' ');
  return blank == std::string::npos ? "" : result.engine.substr(blank + 1);
}

Facts environment(const BenchResult& result) {
  Facts facts = host_facts();
  facts.emplace_back("version." + engine_name(result), json_quoted(engine_version(result)));
  const std::int32_t threads = result.options.threads;
  facts.emplace_back("threads.intra_op", threads > 0 ? std::to_string(threads) : "null");
  for (const auto& fact : load_facts(result.latencies.before, result.latencies.after)) {
    facts.push_back(fact);
  }
  return facts;
}

std::string block_json(const BenchResult& result, const Block& block) {
  JsonObject object;
  object.put_text("variant", result.model.name).put_integer("start_ns", block.start_ns);
  object.put("pause_ns", json_integers(block.pause_ns));
  object.put("latency_ns", json_integers(block.latency_ns));
  object.put("readings", object_of(block.readings));
  return object.text();
}

std::string settings_json(const BenchResult& result) {
  JsonObject object;
  object.put("duration_s", json_number(result.options.seconds)).put("precision", "0.01");
  object.put("block_ms", json_number(kBlockMs)).put("seed", "0").put("confidence", "0.99");
  return object.text();
}

std::string measurement_json(const BenchResult& result, const std::string& environment) {
  std::vector<std::string> blocks;
  for (const Block& block : result.latencies.blocks) {
    blocks.push_back(block_json(result, block));
  }
  JsonObject object;
  object.put_integer("bmopt_measurement", kMeasurementVersion);
  object.put("variants", json_texts({result.model.name})).put("settings", settings_json(result));
  object.put("environment", environment).put("blocks", json_list(blocks));
  return object.text();
}

std::string subject_json(const BenchResult& result) {
  JsonObject object;
  object.put_text("name", result.model.name).put_text("spec", result.options.bundle);
  object.put_text("kind", "bundle").put_text("target", result.model.target);
  object.put_text("digest", result.model.digest);
  object.put_integer("size_bytes",
                     static_cast<std::int64_t>(file_size(result.bundle.path(result.model.file))));
  object.put_text("engine", engine_name(result));
  object.put("versions",
             JsonObject().put_text(engine_name(result), engine_version(result)).text());
  return object.text();
}

std::string process_json(const BenchResult& result) {
  JsonObject object;
  object.put_text("subject", result.model.name).put("load_ns", integer(result.load_ns));
  object.put("first_inference_ns", integer(result.first_inference_ns));
  object.put("cold_start_ns", integer(result.cold_start_ns));
  object.put("peak_memory_bytes", integer(result.peak_memory_bytes));
  return object.text();
}

std::string local_time() {
  const time_t now = time(nullptr);
  tm parts{};
  char text[64] = "";
  localtime_r(&now, &parts);
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %Z", &parts);
  return text;
}

}  // namespace

std::string bench_json(const BenchResult& result) {
  const std::string facts = object_of(environment(result));
  JsonObject object;
  object.put_integer("bmopt_bench", kDocumentVersion);
  object.put_text("command", result.options.command).put_text("created", local_time());
  object.put_text("bmopt", BMOPT_VERSION);
  object.put("subjects", json_list({subject_json(result)}));
  object.put("measurement", measurement_json(result, facts));
  object.put("processes", json_list({process_json(result)}));
  object.put("environment", facts);
  return object.text();
}

}  // namespace bm
