#pragma once

#include <map>
#include <string>
#include <vector>

namespace bm {

// A short text file of /proc, /sys or /etc without the white space around it; empty where it
// cannot be read.
std::string proc_text(const std::string& path);

// What stands between separators, such as "\n" or " \t"; nothing empty.
std::vector<std::string> pieces_of(const std::string& text, const char* separators);

// "name : value" lines, the first of each name.
std::map<std::string, std::string> proc_fields(const std::string& text, char separator = ':');

// The CPUs of /proc/cpuinfo, each with its fields.
std::vector<std::map<std::string, std::string>> proc_cpus();

// The number that a text begins with; -1 where it begins with none.
double leading_number(const std::string& text);

}  // namespace bm
