#include "http/h1_codec.h"

#include "base/text.h"
#include "support/event_log.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::http;
using test::EventLog;

namespace {

// One case of tests/data/h1/*.md: a heading that is its name, settings as "key: value", fenced
// blocks `in` (bytes, with escapes; the lines' own ends do not count), `events` and, optionally,
// `out`. What the settings mean is in tests/data/h1/README.md.
struct Vector {
  std::string file;
  std::string name;
  std::map<std::string, std::string, std::less<>> settings;
  std::map<std::string, std::string, std::less<>> blocks;

  [[nodiscard]] std::string_view setting(std::string_view key, std::string_view otherwise) const {
    const auto found = settings.find(key);
    return found == settings.end() ? otherwise : std::string_view{found->second};
  }
};

std::vector<Vector> read_vectors() {
  std::vector<Vector> all;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(TEST_DATA "/h1")) {
    if (entry.path().extension() == ".md" && entry.path().stem() != "README") {
      files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  for (const auto& path : files) {
    std::ifstream file(path);
    std::string line;
    std::string* block = nullptr;
    while (std::getline(file, line)) {
      if (block != nullptr) {
        if (line == "```") {
          block = nullptr;
        } else {
          block->append(line).append("\n");
        }
      } else if (line.starts_with("## ")) {
        all.push_back({path.filename(), line.substr(3), {}, {}});
      } else if (line.starts_with("```")) {
        block = &all.back().blocks[line.substr(3)];
      } else if (const auto colon = line.find(": "); colon != std::string::npos && !all.empty()) {
        all.back().settings[line.substr(0, colon)] = line.substr(colon + 2);
      }
    }
  }
  return all;
}

Limits limits_of(const Vector& vector) {
  Limits limits;
  const auto number = [&](std::string_view key, auto& value) {
    const std::string_view text = vector.setting(key, "");
    if (!text.empty()) {
      value = static_cast<std::remove_reference_t<decltype(value)>>(*base::parse_decimal(text));
    }
  };
  number("header_count", limits.header_count);
  number("header_size", limits.header_size);
  number("target_size", limits.target_size);
  number("body_size", limits.body_size);
  number("pipeline", limits.pipeline);
  return limits;
}

struct Outcome {
  std::string events;
  std::string output;

  friend bool operator==(const Outcome&, const Outcome&) = default;
};

class Run {
 public:
  explicit Run(const Vector& vector)
      : limits_(limits_of(vector)),
        log_(static_cast<std::uint16_t>(*base::parse_decimal(vector.setting("answer", "200")))),
        codec_(vector.setting("role", "server") == "server" ? Role::server : Role::client, limits_,
               slabs_, parsers_, log_) {
    log_.watch(codec_);
    if (vector.setting("role", "server") != "client") return;
    const std::string_view request = vector.setting("request", "GET");
    if (request == "none") return;
    Stream* stream = codec_.open(log_);
    Head head;
    head.method = request == "upgrade" ? "GET" : request;
    head.target = "/";
    head.authority = "a";
    if (request == "upgrade") {
      head.upgrade = true;
      head.fields.add("Upgrade", "test");
    }
    if (request == "POST") head.framing = Framing::chunked;
    stream->send_head(head, request == "POST" ? End::no : End::yes);
  }

  // The bytes lie at the end of their memory, so that a sanitizer sees a read past them.
  void feed(std::string_view bytes) {
    const auto copy = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.get());
    codec_.feed(Bytes(copy.get(), bytes.size()));
    log_.answer();
  }

  Outcome finish(const Vector& vector) {
    if (vector.setting("eof", "no") == "yes") {
      codec_.end_of_input();
      log_.answer();
    }
    const std::string output = test::escape(log_.output());
    static constexpr const char* afters[] = {"keep", "finish", "close", "linger"};
    return {log_.lines() + afters[static_cast<int>(codec_.after_output())] + "\n", output};
  }

 private:
  Limits limits_;
  base::Slabs slabs_;
  H1Parsers parsers_;
  EventLog log_;
  H1Codec codec_;
};

// The expected output is written one line per line.
std::string lines_of(std::string_view output) {
  std::string text;
  for (std::size_t i = 0; i < output.size(); ++i) {
    text += output[i];
    if (i > 0 && output.substr(i - 1, 2) == "\\n") text += '\n';
  }
  if (!text.empty() && text.back() != '\n') text += '\n';
  return text;
}

}  // namespace

TEST_CASE("h1: the vectors of tests/data/h1, whole, cut once everywhere, and byte by byte") {
  const std::vector<Vector> vectors = read_vectors();
  REQUIRE(vectors.size() > 0);
  for (const Vector& vector : vectors) {
    INFO(vector.file, ": ", vector.name);
    REQUIRE(vector.blocks.count("in") == 1);
    REQUIRE(vector.blocks.count("events") == 1);
    const std::string input = test::unescape(vector.blocks.at("in"));

    Run whole(vector);
    whole.feed(input);
    const Outcome expected = whole.finish(vector);
    CHECK(expected.events == vector.blocks.at("events"));
    if (vector.blocks.count("out") == 1) {
      CHECK(lines_of(expected.output) == vector.blocks.at("out"));
    }

    Run bytewise(vector);
    for (std::size_t i = 0; i < input.size(); ++i) bytewise.feed(input.substr(i, 1));
    const Outcome by_byte = bytewise.finish(vector);
    CHECK(by_byte.events == expected.events);
    CHECK(by_byte.output == expected.output);

    for (std::size_t cut = 1; cut < input.size(); ++cut) {
      Run halves(vector);
      halves.feed(input.substr(0, cut));
      halves.feed(input.substr(cut));
      const Outcome by_halves = halves.finish(vector);
      if (by_halves == expected) continue;
      CAPTURE(cut);
      CHECK(by_halves.events == expected.events);
      CHECK(by_halves.output == expected.output);
      break;
    }
  }
}
