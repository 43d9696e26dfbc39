#include "proc_text.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

namespace bm {
namespace {

std::string trimmed(const std::string& text) {
  const char* blank = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(blank);
  return begin == text.npos ? "" : text.substr(begin, text.find_last_not_of(blank) - begin + 1);
}

}  // namespace

std::string proc_text(const std::string& path) {
  const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "re"), std::fclose);
  std::string text;
  char piece[4096];
  while (file != nullptr) {
    const std::size_t got = std::fread(piece, 1, sizeof piece, file.get());
    if (got == 0) {
      break;
    }
    text.append(piece, got);
  }
  return trimmed(text);
}

std::vector<std::string> pieces_of(const std::string& text, const char* separators) {
  std::vector<std::string> pieces;
  std::size_t begin = text.find_first_not_of(separators);
  while (begin != text.npos) {
    const std::size_t end = std::min(text.find_first_of(separators, begin), text.size());
    pieces.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(separators, end);
  }
  return pieces;
}

std::map<std::string, std::string> proc_fields(const std::string& text, char separator) {
  std::map<std::string, std::string> fields;
  for (const std::string& line : pieces_of(text, "\n")) {
    const std::size_t at = line.find(separator);
    if (at != line.npos) {
      fields.emplace(trimmed(line.substr(0, at)), trimmed(line.substr(at + 1)));
    }
  }
  return fields;
}

std::vector<std::map<std::string, std::string>> proc_cpus() {
  std::vector<std::map<std::string, std::string>> cpus;
  const std::string text = proc_text("/proc/cpuinfo");
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find("\n\n", begin), text.size());
    const auto fields = proc_fields(text.substr(begin, end - begin));
    if (fields.count("processor") != 0) {
      cpus.push_back(fields);
    }
    begin = end + 2;
  }
  return cpus;
}

double leading_number(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  return end == text.c_str() ? -1 : number;
}

}  // namespace bm
