// HostTrie<T>: values kept under host names and patterns of names; finds the one that fits best.
//
// A pattern is a name in which a label may be `*` (stands for exactly one label) or `**` (one or
// more), in any position and several times; "*.example.com" does not match "example.com". Labels
// are compared from the right, and at the first that differs exact beats `*` beats `**`; a branch
// that leads nowhere is given up for the next best. A `**` that follows another in the pattern
// beats the first one going on, so there are no ties.
// Inside: a hash table of all patterns as they are written, which answers exact names at once, and
// a tree of labels (detail/label_tree.h) of those with wildcards only.
// Thread: insert by one thread; afterwards any number may match at once.
#pragma once

#include <proxycore/detail/label_tree.h>
#include <proxycore/result.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace proxycore {

// One pattern that HostTrie::explain looked at.
struct Candidate {
  std::string pattern;
  bool matches = false;
  bool wins = false;
  std::string reason;  // "'v1' is exact here and * in 'api.*.example.com'"
};

template <class T>
class HostTrie {
 public:
  // A pattern and its value; stays where it is until the trie is destroyed.
  class Entry {
   public:
    const T value;
    [[nodiscard]] std::string_view pattern() const noexcept { return {text(), size_}; }

   private:
    friend HostTrie;
    // With a text of so many bytes, which begins in what is padding otherwise.
    static constexpr std::size_t bytes(std::size_t text) noexcept {
      // NOLINTNEXTLINE(bugprone-sizeof-expression): T may be a pointer, and then its size is meant
      return std::max(sizeof(Entry), sizeof(T) + sizeof(std::uint8_t) + text);
    }
    Entry(T&& held, std::size_t size) noexcept
        : value(std::move(held)), size_(static_cast<std::uint8_t>(size)) {}
    [[nodiscard]] const char* text() const noexcept {
      return reinterpret_cast<const char*>(&size_) + 1;
    }
    const std::uint8_t size_;  // the text follows
  };

  HostTrie() = default;
  HostTrie(HostTrie&& other) noexcept { swap(other); }
  HostTrie& operator=(HostTrie&& other) noexcept {
    HostTrie taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~HostTrie() {
    if constexpr (!std::is_trivially_destructible_v<T>) {
      names_.for_each([this](std::uint32_t id) { std::destroy_at(entry(id)); });
    }
  }

  // `pattern` is canonical (HostName::canonical_pattern).
  // Errors: invalid (which label and why), conflict (it is there already), limit (16 GiB are full).
  Result<void> insert(std::string_view pattern, T value);

  // The best match of a normalized name (HostName::normalize), or nullptr. Allocates nothing. A
  // text that is no name matches nothing.
  [[nodiscard]] const T* match(std::string_view host) const noexcept {
    const Entry* found = find(host);
    return found != nullptr ? &found->value : nullptr;
  }
  // The same with the pattern.
  [[nodiscard]] const Entry* find(std::string_view host) const noexcept {
    if (const Entry* exact = find_name(host, hash(host))) return exact;
    const std::uint32_t id = wild_.find(host, nullptr, [](std::uint32_t) { return true; });
    return id != 0 ? entry(id) : nullptr;
  }
  // The same, and how it came about.
  [[nodiscard]] const Entry* find(std::string_view host, MatchTrace& trace) const noexcept {
    return find(host, trace, [](const Entry&) { return true; });
  }
  // The best of those that `accept(const Entry&)` takes. Of two tries' finds for one name the
  // better is the one whose trace.fits are less.
  template <class Accept>
  [[nodiscard]] const Entry* find(std::string_view host, MatchTrace& trace,
                                  Accept&& accept) const noexcept;
  // What was inserted as `pattern`, or nullptr.
  [[nodiscard]] const Entry* at(std::string_view pattern) const noexcept {
    return find_name(pattern, hash(pattern));
  }

  [[nodiscard]] std::size_t size() const noexcept { return names_.size(); }

  // `visit(const Entry&)` for every pattern, in no order.
  template <class Visit>
  void for_each(Visit&& visit) const {
    names_.for_each([&](std::uint32_t id) { visit(std::as_const(*entry(id))); });
  }

  // For people: the patterns that match `host`, best first, then those that fail only in or left
  // of their leftmost wildcard, each with the reason; at most `most`. Reads every pattern.
  [[nodiscard]] std::vector<Candidate> explain(std::string_view host, std::size_t most = 100) const;

 private:
  static_assert(sizeof(Entry) <= 4096 && alignof(Entry) <= alignof(std::max_align_t));

  // Whether there is a wildcard in it. Errors: invalid.
  static Result<bool> check(std::string_view pattern);
  static std::string quoted(std::string_view text) {
    return std::string{"'"}.append(text).append("'");
  }
  // How `pattern` alone takes `host`. A trie of its own tells, so that the rule exists once.
  static bool fits(std::string_view pattern, std::string_view host, MatchTrace& trace) {
    HostTrie<char> alone;
    return alone.insert(pattern, 0).has_value() && alone.find(host, trace) != nullptr;
  }
  static std::string why_missing(std::string_view pattern, std::string_view host);

  [[nodiscard]] std::uint32_t hash(std::string_view name) const noexcept {
    return detail::hash(name, seed_);
  }
  [[nodiscard]] Entry* entry(std::uint32_t id) const noexcept { return entries_.at<Entry>(id); }
  const Entry* find_name(std::string_view name, std::uint32_t tag) const noexcept {
    const std::uint32_t id =
        names_.find(tag, [&](std::uint32_t other) { return entry(other)->pattern() == name; });
    return id != 0 ? entry(id) : nullptr;
  }
  void swap(HostTrie& other) noexcept {
    std::swap(seed_, other.seed_);
    std::swap(entries_, other.entries_);
    std::swap(names_, other.names_);
    std::swap(wild_, other.wild_);
  }

  std::uint64_t seed_ = detail::process_seed();
  detail::Arena entries_;
  detail::Table names_;            // every pattern, as it is written -> Entry
  detail::LabelTree wild_{seed_};  // those with wildcards
};

template <class T>
Result<void> HostTrie<T>::insert(std::string_view pattern, T value) {
  PX_TRY(const bool is_wild, check(pattern));
  const std::uint32_t tag = hash(pattern);
  if (find_name(pattern, tag) != nullptr) {
    return Error{Errc::conflict, quoted(pattern) + " is there already"};
  }
  const std::size_t size = Entry::bytes(pattern.size());
  if (!entries_.has_room(size) || !wild_.has_room()) return Error{Errc::limit, "the trie is full"};
  const std::uint32_t id = entries_.allocate(size, alignof(Entry));
  auto* made = new (entries_.raw(id)) Entry(std::move(value), pattern.size());
  std::copy_n(pattern.data(), pattern.size(), const_cast<char*>(made->text()));
  names_.insert(tag, id);
  if (is_wild) wild_.add(pattern, id);
  return {};
}

template <class T>
template <class Accept>
auto HostTrie<T>::find(std::string_view host, MatchTrace& trace, Accept&& accept) const noexcept
    -> const Entry* {
  const Entry* exact = at(host);
  if (exact == nullptr || !accept(*exact)) {
    const std::uint32_t id =
        wild_.find(host, &trace, [&](std::uint32_t each) { return accept(*entry(each)); });
    return id != 0 ? entry(id) : nullptr;
  }
  trace = {};
  trace.labels = 1 + static_cast<std::size_t>(std::count(host.begin(), host.end(), '.'));
  std::fill_n(trace.fits.begin(), trace.labels, LabelFit::exact);
  return exact;
}

template <class T>
Result<bool> HostTrie<T>::check(std::string_view pattern) {
  const auto refuse = [pattern](std::string_view why) {
    return Error{Errc::invalid, quoted(pattern).append(" is no canonical pattern: ").append(why)};
  };
  if (pattern.empty() || pattern.size() > max_host_name) return refuse("expected 1 to 253 bytes");
  if (pattern.front() == '[' && pattern.back() == ']') return false;  // IPv6 address
  bool is_wild = false;
  for (std::size_t begin = 0; begin <= pattern.size();) {
    const std::size_t end = std::min(pattern.find('.', begin), pattern.size());
    const std::string_view label = pattern.substr(begin, end - begin);
    begin = end + 1;
    if (label.empty() || label.size() > max_host_label) {
      return refuse("expected labels of 1 to 63 bytes");
    }
    if (label == "*" || label == "**") {
      is_wild = true;
    } else if (label.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_") != label.npos) {
      return refuse("expected a-z, 0-9, '-' and '_' in label " + quoted(label));
    }
  }
  return is_wild;
}

// Why a pattern that does not fit fails; empty if it has nothing to do with the name.
template <class T>
std::string HostTrie<T>::why_missing(std::string_view pattern, std::string_view host) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) {
    const bool is_below = host.size() > pattern.size() && host.ends_with(pattern) &&
                          host[host.size() - pattern.size() - 1] == '.';
    return is_below ? "is one name and does not cover those below it" : "";
  }
  const std::size_t dot = pattern.find('.', star);
  const std::string left = quoted(pattern.substr(0, dot));
  if (dot == std::string_view::npos) return "the name does not fit " + left;
  const std::string_view right = pattern.substr(dot + 1);
  MatchTrace trace;
  if (fits(right, host, trace)) {
    return "nothing stands left of " + quoted(right) + " for " + left;
  }
  if (fits(std::string("**.").append(right), host, trace)) {
    return "what stands left of " + quoted(right) + " does not fit " + left;
  }
  return {};
}

template <class T>
std::vector<Candidate> HostTrie<T>::explain(std::string_view host, std::size_t most) const {
  struct Fitting {
    std::string_view pattern;
    MatchTrace trace;
  };
  std::vector<Fitting> fitting;
  std::vector<Candidate> missing;
  for_each([&](const Entry& each) {
    const std::string_view pattern = each.pattern();
    const std::string_view end = pattern.substr(pattern.rfind('*') + 1);  // npos + 1 is 0
    const bool same_end = host.ends_with(end) || (end.front() == '.' && host == end.substr(1));
    if (!same_end) return;
    MatchTrace trace;
    if (fits(pattern, host, trace)) {
      fitting.push_back({pattern, trace});
    } else if (std::string why = why_missing(pattern, host); !why.empty()) {
      missing.push_back({std::string(pattern), false, false, std::move(why)});
    }
  });
  std::sort(fitting.begin(), fitting.end(),
            [](const Fitting& a, const Fitting& b) { return a.trace.fits < b.trace.fits; });
  std::sort(missing.begin(), missing.end(),
            [](const Candidate& a, const Candidate& b) { return a.pattern < b.pattern; });

  static constexpr std::array<const char*, 4> words = {" exact", " *", " **", " in a ** going on"};
  std::vector<Candidate> rows;
  for (const Fitting& row : fitting) {
    const bool wins = rows.empty();
    std::string why = wins ? "fits best:" : "";
    std::string_view rest = host;  // what is left of the labels told
    for (std::size_t i = 0; i < row.trace.labels; ++i) {
      const std::size_t at = rest.rfind('.') + 1;  // npos + 1 is 0
      const std::string label = quoted(rest.substr(at));
      rest = rest.substr(0, at > 0 ? at - 1 : 0);
      const char* const here = words[static_cast<std::size_t>(row.trace.fits[i])];
      const char* const best = words[static_cast<std::size_t>(fitting[0].trace.fits[i])];
      if (wins) {
        why.append(i > 0 ? ", " : " ").append(label).append(here);
      } else if (here != best) {
        why = label + " is" + here + " here and" + best + " in " + quoted(fitting[0].pattern);
        break;
      }
    }
    rows.push_back({std::string(row.pattern), true, wins, std::move(why)});
  }
  std::move(missing.begin(), missing.end(), std::back_inserter(rows));
  if (rows.size() > most) rows.resize(most);
  return rows;
}

}  // namespace proxycore
