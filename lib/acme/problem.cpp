#include "acme/problem.h"

#include <algorithm>
#include <string>

namespace proxycore::acme {

namespace {
constexpr std::string_view namespace_of_types = "urn:ietf:params:acme:error:";
constexpr std::size_t max_text = 1000;
constexpr std::size_t max_subproblems = 100;

struct Meaning {
  std::string_view type;
  Errc code;
};
constexpr Meaning meanings[] = {
    {"accountDoesNotExist", Errc::not_found},
    {"agreementRequired", Errc::denied},
    {"alreadyReplaced", Errc::conflict},
    {"alreadyRevoked", Errc::conflict},
    {"badCSR", Errc::invalid},
    {"badNonce", Errc::busy},
    {"badPublicKey", Errc::invalid},
    {"badRevocationReason", Errc::invalid},
    {"badSignatureAlgorithm", Errc::invalid},
    {"caa", Errc::denied},
    {"connection", Errc::denied},
    {"dns", Errc::denied},
    {"externalAccountRequired", Errc::denied},
    {"incorrectResponse", Errc::denied},
    {"invalidContact", Errc::invalid},
    {"invalidProfile", Errc::invalid},
    {"malformed", Errc::invalid},
    {"orderNotReady", Errc::conflict},
    {"rateLimited", Errc::busy},
    {"rejectedIdentifier", Errc::denied},
    {"serverInternal", Errc::busy},
    {"tls", Errc::denied},
    {"unauthorized", Errc::denied},
    {"unsupportedContact", Errc::invalid},
    {"unsupportedIdentifier", Errc::denied},
    {"userActionRequired", Errc::denied},
};

Errc code_of(const Problem& problem) {
  if (problem.status == 429 || problem.status == 503) return Errc::busy;
  if (problem.status == 404 || problem.status == 410) return Errc::not_found;
  for (const Meaning& meaning : meanings) {
    if (meaning.type == problem.type) return meaning.code;
  }
  if (problem.status >= 500) return Errc::busy;
  switch (problem.status) {
    case 401:
    case 403:
      return Errc::denied;
    case 409:
      return Errc::conflict;
    default:
      return problem.status >= 400 ? Errc::invalid : Errc::protocol;
  }
}

// One line of printable text.
std::string cleaned(std::string_view text) {
  std::string line(text.substr(0, max_text));
  std::replace_if(
      line.begin(), line.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
  return line;
}

std::string text_in(const base::json::Value& document, std::string_view field) {
  const auto text = document.text(field);
  return text ? cleaned(*text) : std::string();
}
}  // namespace

std::string Problem::text() const {
  std::string all = identifier;
  const auto add = [&all](std::string_view part) {
    if (part.empty()) return;
    if (!all.empty()) all += ": ";
    all += part;
  };
  add(type.empty() ? "status " + std::to_string(status) : type);
  add(detail);
  if (!instance.empty()) all += " (see " + instance + ")";
  for (const Problem& one : subproblems) all += "; " + one.text();
  return all;
}

Problem read_problem(const base::json::Value& document, std::uint16_t status) {
  Problem problem;
  problem.status = status;
  if (const auto said = document.integer("status", 100, 599)) {
    problem.status = static_cast<std::uint16_t>(*said);
  }
  problem.type = text_in(document, "type");
  if (problem.type.starts_with(namespace_of_types)) {
    problem.type.erase(0, namespace_of_types.size());
  }
  problem.detail = text_in(document, "detail");
  problem.instance = text_in(document, "instance");
  if (const auto* of = document.find("identifier")) problem.identifier = text_in(*of, "value");
  if (const auto parts = document.array("subproblems")) {
    for (const auto& part : parts->first(std::min(parts->size(), max_subproblems))) {
      // They have none of their own (RFC 8555 §6.7.1), which also bounds the depth.
      Problem one = read_problem(part, 0);
      one.subproblems.clear();
      problem.subproblems.push_back(std::move(one));
    }
  }
  return problem;
}

Problem read_problem(std::string_view content, std::uint16_t status) {
  const auto document = base::json::parse(content);
  if (document) return read_problem(*document, status);
  Problem problem;
  problem.status = status;
  return problem;
}

Error error_of(const Problem& problem, std::uint32_t retry_after_s) {
  return {code_of(problem), problem.text(), retry_after_s};
}

}  // namespace proxycore::acme
