#include "host/registered_domain.h"

#include <libpsl.h>

namespace proxycore::host {

std::string registered_domain(std::string_view name) {
  if (name.starts_with("*.")) name.remove_prefix(2);
  const std::string text(name);
  const char* const found = psl_registrable_domain(psl_builtin(), text.c_str());
  return found == nullptr ? text : std::string(found);
}

}  // namespace proxycore::host
