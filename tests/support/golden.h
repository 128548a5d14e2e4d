// The data of a real installation (tests/data/golden.redis), put into a server through our own
// protocol code, or into a store. Thread: any.
#pragma once

#include "support/redis_server.h"
#include <proxycore/store.h>

#include <fstream>
#include <optional>
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

// Without the sets that list the records, which a store keeps by itself.
inline void load_golden(Store& store) {
  std::ifstream file(TEST_DATA "/golden.redis");
  std::string line;
  int records = 0;
  while (std::getline(file, line)) {
    const std::vector<std::string> words = golden_words(line);
    if (words.size() < 3 || (words[0] != "HSET" && words[0] != "SET")) continue;
    Record record;
    if (words[0] == "SET") record.emplace(text_field, words[2]);
    for (std::size_t at = 2; words[0] == "HSET" && at + 1 < words.size(); at += 2) {
      record.emplace(words[at], words[at + 1]);
    }
    REQUIRE(store.put(words[1], record, std::nullopt, Deadline::in(Millis{10'000})));
    ++records;
  }
  REQUIRE(records > 25);
}

}  // namespace proxycore::test
