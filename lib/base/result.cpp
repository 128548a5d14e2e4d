#include <proxycore/result.h>

namespace proxycore {

std::string_view name_of(Errc code) noexcept {
  switch (code) {
    case Errc::cancelled:
      return "cancelled";
    case Errc::timeout:
      return "timeout";
    case Errc::closed:
      return "closed";
    case Errc::refused:
      return "refused";
    case Errc::protocol:
      return "protocol";
    case Errc::limit:
      return "limit";
    case Errc::not_found:
      return "not_found";
    case Errc::conflict:
      return "conflict";
    case Errc::denied:
      return "denied";
    case Errc::invalid:
      return "invalid";
    case Errc::busy:
      return "busy";
    case Errc::io:
      return "io";
  }
  return "unknown";
}

}  // namespace proxycore
