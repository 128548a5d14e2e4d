#include "auth/password.h"

#include "auth/secret.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>

#include <string.h>

#include <crypt.h>

namespace proxycore::auth {

namespace {
constexpr std::size_t hash_size = 60;

// What crypt(3) works in: too large for a stack, and to be wiped.
class Workspace {
 public:
  ~Workspace() { explicit_bzero(data_.get(), sizeof *data_); }

  // Empty: `setting` is none that the library knows.
  std::string_view crypt(const char* password, const char* setting) {
    const char* hash = crypt_rn(password, setting, data_.get(), sizeof *data_);
    return hash == nullptr ? std::string_view{} : std::string_view{hash};
  }

 private:
  std::unique_ptr<crypt_data> data_ = std::make_unique<crypt_data>();
};

// The cost of a bcrypt hash; nullopt: it is none, or one that would take minutes.
std::optional<unsigned> cost_of(std::string_view hash) {
  if (hash.size() != hash_size || hash.find('\0') != std::string_view::npos) return std::nullopt;
  constexpr std::array<std::string_view, 3> forms = {"$2a$", "$2b$", "$2y$"};
  const auto is_form = [hash](std::string_view form) { return hash.starts_with(form); };
  if (std::none_of(forms.begin(), forms.end(), is_form) || hash[6] != '$') return std::nullopt;
  const auto cost = base::parse_decimal(hash.substr(4, 2), max_cost);
  if (!cost || *cost < min_cost) return std::nullopt;
  return static_cast<unsigned>(*cost);
}

// Takes as long as verifying a hash of that cost.
void work(Workspace& workspace, const char* password, unsigned cost) {
  const std::string digits = std::to_string(cost);
  const std::string setting =
      "$2b$" + std::string(2 - digits.size(), '0') + digits + "$......................";
  workspace.crypt(password, setting.c_str());
}

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_other(char c) {
  return !is_upper(c) && !is_lower(c) && !base::is_digit(c);
}
}  // namespace

Result<std::string> hash_password(std::string_view password, unsigned cost) {
  if (password.empty()) return Error{Errc::invalid, "expected a password, found nothing"};
  if (password.size() > max_password) {
    return Error{Errc::invalid, "expected at most 72 bytes, found " +
                                    std::to_string(password.size()) + "; bcrypt takes no more"};
  }
  if (password.find('\0') != std::string_view::npos) {
    return Error{Errc::invalid, "expected a text, found a NUL in it"};
  }
  if (cost < min_cost || cost > max_cost) {
    return Error{Errc::invalid, "expected a cost of 4..16, found " + std::to_string(cost)};
  }
  std::array<char, CRYPT_GENSALT_OUTPUT_SIZE> setting;
  if (crypt_gensalt_rn("$2b$", cost, nullptr, 0, setting.data(), setting.size()) == nullptr) {
    return Error{Errc::io, "bcrypt: no random bytes"};
  }
  Workspace workspace;
  std::string text{password};
  std::string hash{workspace.crypt(text.c_str(), setting.data())};
  explicit_bzero(text.data(), text.size());
  if (hash.size() != hash_size) return Error{Errc::io, "bcrypt: the library does not know it"};
  return hash;
}

bool verify_password(std::string_view password, std::string_view hash, unsigned cost) {
  Workspace workspace;
  std::string text{password.substr(0, max_password)};
  const std::optional<unsigned> kept = cost_of(hash);
  bool same = false;
  if (kept) {
    const std::string setting{hash};
    same = equal(workspace.crypt(text.c_str(), setting.c_str()), hash);
    // Each step of cost doubles the work: this one and all up to `cost` make up the difference.
    for (unsigned step = *kept; step < cost; ++step) work(workspace, text.c_str(), step);
  } else {
    work(workspace, text.c_str(), cost);
  }
  const bool empty = text.empty() || text.front() == '\0';
  explicit_bzero(text.data(), text.size());
  return same && !empty;
}

Result<void> check_strength(std::string_view password) {
  if (password.size() < 8) {
    return Error{Errc::invalid, "expected at least 8 characters"};
  }
  const auto any = [password](bool (*is)(char)) {
    return std::any_of(password.begin(), password.end(), is) ? 1 : 0;
  };
  const int kinds = any(is_lower) + any(is_upper) + any(base::is_digit) + any(is_other);
  if (password.size() >= 12 || kinds >= 3) return {};
  return Error{Errc::invalid,
               "expected 12 characters or more, or three of: lower case, upper case, digits, "
               "other characters"};
}

}  // namespace proxycore::auth
