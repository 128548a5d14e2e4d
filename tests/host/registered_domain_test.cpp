#include "host/registered_domain.h"

#include <doctest/doctest.h>

using proxycore::host::registered_domain;

TEST_CASE("registered domain: what is below a public suffix, whoever has that") {
  CHECK(registered_domain("example.com") == "example.com");
  CHECK(registered_domain("a.b.example.com") == "example.com");
  CHECK(registered_domain("*.b.example.co.uk") == "example.co.uk");
  // On the list because others have names below it.
  CHECK(registered_domain("www.mine.github.io") == "mine.github.io");
  CHECK(registered_domain("xn--mgbaam7a8h.xn--fiqs8s") == "xn--mgbaam7a8h.xn--fiqs8s");
  CHECK(registered_domain("a.example.test") == "example.test");
  CHECK(registered_domain("co.uk") == "co.uk");
  CHECK(registered_domain("localhost") == "localhost");
  CHECK(registered_domain("") == "");
}
