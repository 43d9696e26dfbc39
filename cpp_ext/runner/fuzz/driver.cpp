// A small stand-in for libFuzzer: driver SECONDS SEED_FILE... mutates the seeds, always in the
// same order: what crashed crashes again.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Random = std::mt19937_64;

const char* const kTokens[] = {"\"",
                               "{",
                               "}",
                               "[",
                               "]",
                               ",",
                               ":",
                               "null",
                               "-1",
                               "1e308",
                               "\\u0000",
                               "\\ud800",
                               "../",
                               "/",
                               "\xff",
                               "\xed\xa0\x80",
                               "9007199254740993",
                               "18446744073709551616",
                               "(",
                               ")",
                               "'",
                               "'<f4'",
                               "True",
                               "(0,)",
                               "(4294967296, 4294967296)",
                               "\x93NUMPY",
                               " "};

std::size_t below(Random& random, std::size_t count) {
  return count == 0 ? 0 : random() % count;
}

void mutate(Random& random, std::string& text, const std::vector<std::string>& seeds) {
  const std::size_t at = below(random, text.size() + 1);
  const std::size_t length = below(random, std::min<std::size_t>(text.size() - at + 1, 64));
  const std::string& other = seeds[below(random, seeds.size())];
  switch (random() % 6) {
    case 0:
      if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << random() % 8));
      break;
    case 1:
      if (at < text.size()) text[at] = static_cast<char>(random());
      break;
    case 2:
      text.erase(at, length);
      break;
    case 3:
      text.insert(at, kTokens[below(random, std::size(kTokens))]);
      break;
    case 4:
      text.insert(at, text.substr(at, length));
      break;
    default:
      text.replace(at, length, other.substr(below(random, other.size() + 1), length));
  }
}

std::vector<std::string> read_seeds(int count, char** names) {
  std::vector<std::string> seeds;
  for (int i = 0; i < count; ++i) {
    std::ifstream file(names[i], std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

void run(const std::string& text) {
  // A copy of exactly this size: AddressSanitizer sees a read beyond it.
  const std::vector<std::uint8_t> bytes(text.begin(), text.end());
  LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
}

}  // namespace

int main(int count, char** values) {
  if (count < 3) return 2;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(values[1]));
  const std::vector<std::string> seeds = read_seeds(count - 2, values + 2);
  for (const std::string& seed : seeds) run(seed);
  Random random(1);
  std::size_t runs = 0;
  for (; std::chrono::steady_clock::now() < end; ++runs) {
    std::string text = seeds[below(random, seeds.size())];
    for (std::size_t i = 1 + below(random, 6); i > 0; --i) mutate(random, text, seeds);
    run(text);
  }
  std::printf("%zu runs\n", runs);
  return 0;
}
