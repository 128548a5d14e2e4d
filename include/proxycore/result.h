// Result<T>: a value or an Error, the return type of everything in proxycore that can fail.
//
// The subset of std::expected<T, Error> (C++23) that the project uses, with the same member names,
// so that it can become an alias one day. No function of proxycore throws; running out of memory
// ends the process. Error carries a code to act on and a text for people; secrets never enter it.
// Thread: values, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace proxycore {

// What a caller can act on.
enum class Errc : std::uint8_t {
  cancelled,  // a stop was requested while waiting
  timeout,    // the deadline passed
  closed,     // the peer ended the connection
  refused,    // nobody listens there, or the peer declined
  protocol,   // the peer broke the rules of the protocol
  limit,      // a configured bound was reached
  not_found,  // no such thing
  conflict,   // exists already, or changed meanwhile
  denied,     // not allowed
  invalid,    // the input is malformed; `detail` names the field and what was expected
  busy,       // try again later
  io,         // the operating system failed; `detail` carries its words
};

// "timeout", "not_found", ...: the enumerator's name, for logs and metrics labels.
std::string_view name_of(Errc code) noexcept;

struct [[nodiscard]] Error {
  Errc code = Errc::io;
  std::string detail = {};  // for people: "sqlite: open './x.db': permission denied"
  // When it is worth trying again, as the other side said (RFC 9110 §10.2.3); 0: it did not.
  std::uint32_t retry_after_s = 0;

  // Prefixes `detail` with the operation that failed, keeps the code.
  [[nodiscard]] Error within(std::string_view operation) && {
    std::string text;
    text.reserve(operation.size() + 2 + detail.size());
    text.append(operation).append(": ").append(detail);
    return {code, std::move(text), retry_after_s};
  }
  // "<code>: <detail>", or the code alone.
  [[nodiscard]] std::string message() const {
    std::string text{name_of(code)};
    if (!detail.empty()) text.append(": ").append(detail);
    return text;
  }
};

template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  using error_type = Error;

  // Implicit, so that `return value;` and `return Error{...};` read as what they mean.
  // NOLINTBEGIN(google-explicit-constructor,bugprone-forwarding-reference-overload)
  Result(T value) : held_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : held_(std::in_place_index<1>, std::move(error)) {}
  template <class U>
  requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
           !std::is_same_v<std::remove_cvref_t<U>, Error> &&
           !std::is_same_v<std::remove_cvref_t<U>, Result>) Result(U&& value)
      : held_(std::in_place_index<0>, std::forward<U>(value)) {}
  // NOLINTEND(google-explicit-constructor,bugprone-forwarding-reference-overload)

  [[nodiscard]] bool has_value() const noexcept { return held_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }

  // Precondition of value(), *, ->: has_value().
  [[nodiscard]] T& value() & { return *std::get_if<0>(&held_); }
  [[nodiscard]] const T& value() const& { return *std::get_if<0>(&held_); }
  [[nodiscard]] T&& value() && { return std::move(*std::get_if<0>(&held_)); }
  [[nodiscard]] T& operator*() & { return value(); }
  [[nodiscard]] const T& operator*() const& { return value(); }
  [[nodiscard]] T&& operator*() && { return std::move(*this).value(); }
  [[nodiscard]] T* operator->() { return std::get_if<0>(&held_); }
  [[nodiscard]] const T* operator->() const { return std::get_if<0>(&held_); }
  template <class U>
  [[nodiscard]] T value_or(U&& otherwise) const& {
    return has_value() ? value() : static_cast<T>(std::forward<U>(otherwise));
  }

  // Precondition: !has_value().
  [[nodiscard]] Error& error() & { return *std::get_if<1>(&held_); }
  [[nodiscard]] const Error& error() const& { return *std::get_if<1>(&held_); }
  [[nodiscard]] Error&& error() && { return std::move(*std::get_if<1>(&held_)); }

 private:
  std::variant<T, Error> held_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  using error_type = Error;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT

  [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return has_value(); }
  [[nodiscard]] Error& error() & { return *error_; }
  [[nodiscard]] const Error& error() const& { return *error_; }
  [[nodiscard]] Error&& error() && { return std::move(*error_); }

 private:
  std::optional<Error> error_;
};

}  // namespace proxycore

#define PX_PASTE(a, b) a##b
#define PX_JOIN(a, b) PX_PASTE(a, b)

// PX_TRY(const auto reply, http.send(request, by)): returns the Error, else declares `reply`.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration cannot stand in parentheses.
#define PX_TRY(declaration, expression)                                                        \
  auto PX_JOIN(px_result_, __LINE__) = (expression);                                           \
  if (!PX_JOIN(px_result_, __LINE__)) return std::move(PX_JOIN(px_result_, __LINE__)).error(); \
  declaration = *std::move(PX_JOIN(px_result_, __LINE__))
// NOLINTEND(bugprone-macro-parentheses)

// PX_CHECK(store.put(...)): returns the Error, else goes on.
#define PX_CHECK(expression)                                                               \
  do {                                                                                     \
    if (auto px_result_ = (expression); !px_result_) return std::move(px_result_).error(); \
  } while (false)
