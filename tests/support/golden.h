// The data of a real installation (tests/data/golden.redis), put into a server through our own
// protocol code. Thread: any.
#pragma once

#include "support/redis_server.h"

#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace proxycore::test {

// A line of the file: words in double quotes with the escapes \" \\ \n \r \t \xHH, the first bare.
inline std::vector<std::string> golden_words(std::string_view line) {
  std::vector<std::string> words;
  for (std::size_t at = 0; at < line.size(); ++at) {
    if (line[at] == ' ') continue;
    std::string word;
    if (line[at] != '"') {
      while (at < line.size() && line[at] != ' ') word.push_back(line[at++]);
      words.push_back(word);
      continue;
    }
    for (++at; at < line.size() && line[at] != '"'; ++at) {
      if (line[at] != '\\') {
        word.push_back(line[at]);
        continue;
      }
      switch (line.at(++at)) {
        case 'n':
          word.push_back('\n');
          break;
        case 'r':
          word.push_back('\r');
          break;
        case 't':
          word.push_back('\t');
          break;
        case 'x':
          word.push_back(
              static_cast<char>(std::stoi(std::string(line.substr(at + 1, 2)), nullptr, 16)));
          at += 2;
          break;
        default:
          word.push_back(line[at]);
      }
    }
    words.push_back(word);
  }
  return words;
}

inline void load_golden(RedisServer& server) {
  std::ifstream file(TEST_DATA "/golden.redis");
  std::string line;
  int lines = 0;
  while (std::getline(file, line)) {
    const std::vector<std::string> words = golden_words(line);
    if (words.empty()) continue;
    const std::vector<std::string_view> command(words.begin(), words.end());
    server.run(redis::Args(command));
    ++lines;
  }
  REQUIRE(lines > 50);
}

}  // namespace proxycore::test
