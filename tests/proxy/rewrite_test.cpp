#include "proxy/rewrite.h"

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::proxy;
using http::FieldId;
using http::Head;

namespace {

using FieldList = std::initializer_list<std::pair<std::string_view, std::string_view>>;

Head get(FieldList fields) {
  Head head;
  head.method = "GET";
  head.target = "/";
  head.authority = "a.test";
  for (const auto& [name, value] : fields) head.fields.add(name, value);
  return head;
}

Head ok(FieldList fields) {
  Head head;
  head.status = 200;
  for (const auto& [name, value] : fields) head.fields.add(name, value);
  return head;
}

// Every line of that name; "-" if there is none.
std::string lines(const Head& head, std::string_view name) {
  std::string all;
  for (const http::Fields::Field field : head.fields) {
    if (field.id != http::field_id(name)) continue;
    if (field.id == FieldId::other && field.name != name) continue;
    if (!all.empty()) all += " | ";
    all += field.value;
  }
  return all.empty() && !head.fields.find(name) ? "-" : all;
}

const ClientInfo stranger{"192.0.2.1", false, false};
const ClientInfo proxy_before_us{"10.0.0.9", true, false};

Head forwarded(Head head, const ClientInfo& client = stranger) {
  rewrite::request(head, client, client.peer, "proxycore", "id-1");
  return head;
}

Trust trust(std::initializer_list<std::string_view> networks, bool unix_peers = false) {
  Trust made;
  for (const std::string_view text : networks) made.networks.push_back(*io::Network::parse(text));
  made.unix_peers = unix_peers;
  return made;
}

const Trust ten = trust({"10.0.0.0/8", "2001:db8:1::/48"});

std::string client_address(FieldList fields, const ClientInfo& client = proxy_before_us,
                           const Trust& whom = ten) {
  const Head head = get(fields);
  return std::string(rewrite::client_address(head, client, whom));
}

}  // namespace

// --- hop by hop

TEST_CASE("rewrite: what Connection names ends here (RFC 9110 §7.6.1)") {
  const Head head = forwarded(get({{"Connection", "keep-alive, X-Hop"},
                                   {"X-Hop", "1"},
                                   {"x-hop", "2"},
                                   {"X-End", "3"},
                                   {"connection", ",,\tx-other ,"},
                                   {"X-Other", "4"},
                                   {"Keep-Alive", "timeout=5"},
                                   {"Proxy-Connection", "keep-alive"},
                                   {"Transfer-Encoding", "chunked"}}));
  for (const std::string_view gone :
       {"Connection", "X-Hop", "X-Other", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding"}) {
    CHECK_MESSAGE(lines(head, gone) == "-", gone);
  }
  CHECK(lines(head, "X-End") == "3");
}

TEST_CASE("rewrite: Connection cannot take away what delimits or routes the message") {
  Head head = get({{"Host", "a.test"},
                   {"Content-Length", "3"},
                   {"TE", "trailers"},
                   {"Connection", "Host, Content-Length, TE, Transfer-Encoding, Connection"}});
  head = forwarded(std::move(head));
  CHECK(lines(head, "Host") == "a.test");
  CHECK(lines(head, "Content-Length") == "3");
  CHECK(lines(head, "TE") == "trailers");
  CHECK(lines(head, "Connection") == "-");
}

TEST_CASE("rewrite: Connection cannot take away what we say of the client") {
  const FieldList fields = {
      {"Connection",
       "X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Real-IP, Forwarded, "
       "Via, X-Request-Id"},
      {"X-Forwarded-For", "198.51.100.7"}};
  const Head head = forwarded(get(fields));
  CHECK(lines(head, "X-Forwarded-For") == "192.0.2.1");
  CHECK(lines(head, "X-Forwarded-Proto") == "http");
  CHECK(lines(head, "X-Forwarded-Host") == "a.test");
  CHECK(lines(head, "X-Real-IP") == "192.0.2.1");
  CHECK(lines(head, "Forwarded") == "for=192.0.2.1;host=a.test;proto=http");
  CHECK(lines(head, "Via") == "1.1 proxycore");
  CHECK(lines(head, "X-Request-Id") == "id-1");
}

TEST_CASE("rewrite: Connection may take away end-to-end fields, the client's own loss") {
  const Head head = forwarded(get(
      {{"Connection", "Cookie, Authorization"}, {"Cookie", "a=1"}, {"Authorization", "Basic x"}}));
  CHECK(lines(head, "Cookie") == "-");
  CHECK(lines(head, "Authorization") == "-");
}

TEST_CASE("rewrite: of TE only trailers is passed on (RFC 9110 §10.1.4)") {
  CHECK(lines(forwarded(get({{"TE", "gzip, trailers"}, {"Connection", "TE"}})), "TE") ==
        "trailers");
  CHECK(lines(forwarded(get({{"TE", "Trailers"}})), "TE") == "trailers");
  CHECK(lines(forwarded(get({{"TE", "gzip"}, {"TE", "trailers"}})), "TE") == "trailers");
  CHECK(lines(forwarded(get({{"TE", "gzip, deflate;q=0.5"}})), "TE") == "-");
  CHECK(lines(forwarded(get({})), "TE") == "-");
}

TEST_CASE("rewrite: Upgrade passes only when the request may be upgraded (RFC 9110 §7.8)") {
  const FieldList fields = {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}};
  Head head = get(fields);
  head.upgrade = true;
  CHECK(lines(forwarded(std::move(head)), "Upgrade") == "websocket");
  CHECK(lines(forwarded(get(fields)), "Upgrade") == "-");
}

TEST_CASE("rewrite: an upgrade to HTTP/2 is never passed on (RFC 9113 §3.1)") {
  for (const std::string_view upgrade : {"h2c", "H2C", "websocket, h2c", "h2c , websocket", ",h2c",
                                         "h2", "HTTP/2.0", "http/1.1", "TLS/1.2, HTTP/1.1"}) {
    INFO(upgrade);
    Head head = get({{"Upgrade", upgrade},
                     {"Connection", "Upgrade, HTTP2-Settings"},
                     {"HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"}});
    head.upgrade = true;
    head = forwarded(std::move(head));
    CHECK_FALSE(head.upgrade);
    CHECK(lines(head, "Upgrade") == "-");
    CHECK(lines(head, "HTTP2-Settings") == "-");
  }
}

TEST_CASE("rewrite: h2c hides neither in a second Upgrade field nor unnamed by Connection") {
  Head head = get({{"Upgrade", "websocket"},
                   {"Upgrade", "h2c"},
                   {"Connection", "Upgrade"},
                   {"HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"}});
  head.upgrade = true;
  head = forwarded(std::move(head));
  CHECK_FALSE(head.upgrade);
  CHECK(lines(head, "Upgrade") == "-");
  CHECK(lines(head, "HTTP2-Settings") == "-");
}

TEST_CASE("rewrite: other upgrades are kept, whatever they are called") {
  for (const std::string_view upgrade : {"websocket", "h2cat", "foo/2", "IRC/6.9, RTA/x11"}) {
    INFO(upgrade);
    Head head = get({{"Upgrade", upgrade}, {"Connection", "Upgrade"}});
    head.upgrade = true;
    head = forwarded(std::move(head));
    CHECK(head.upgrade);
    CHECK(lines(head, "Upgrade") == upgrade);
  }
}

TEST_CASE("rewrite: an HTTP/1.0 client's Expect is not passed on (RFC 9110 §10.1.1)") {
  Head head = get({{"Expect", "100-continue"}});
  CHECK(lines(forwarded(Head{head}), "Expect") == "100-continue");
  head.version = http::Version::http10;
  head = forwarded(std::move(head));
  CHECK(lines(head, "Expect") == "-");
  CHECK(lines(head, "Via") == "1.0 proxycore");
}

TEST_CASE("rewrite: Max-Forwards of OPTIONS is counted down (RFC 9110 §7.6.2)") {
  const auto passed = [](std::string_view method, std::string_view value) {
    Head head = get({{"Max-Forwards", value}});
    head.method = method;
    return lines(forwarded(std::move(head)), "Max-Forwards");
  };
  CHECK(passed("OPTIONS", "10") == "9");
  CHECK(passed("OPTIONS", "1") == "0");
  CHECK(passed("OPTIONS", "soon") == "soon");
  CHECK(passed("GET", "10") == "10");
}

TEST_CASE("rewrite: OPTIONS with Max-Forwards: 0 has arrived (RFC 9110 §7.6.2)") {
  const auto arrived = [](std::string_view method, std::string_view value) {
    Head head = get({{"Max-Forwards", value}});
    head.method = method;
    return rewrite::is_last_hop(head);
  };
  CHECK(arrived("OPTIONS", "0"));
  CHECK_FALSE(arrived("OPTIONS", "1"));
  CHECK_FALSE(arrived("OPTIONS", "-0"));
  CHECK_FALSE(arrived("GET", "0"));
  CHECK_FALSE(rewrite::is_last_hop(get({})));
}

// --- who the client is

TEST_CASE("rewrite: what a stranger says of the client is replaced") {
  const Head head = forwarded(get({{"X-Forwarded-For", "198.51.100.7"},
                                   {"X-Forwarded-For", "198.51.100.8"},
                                   {"X-Forwarded-Proto", "https"},
                                   {"X-Forwarded-Host", "evil.test"},
                                   {"X-Real-IP", "198.51.100.7"},
                                   {"Forwarded", "for=198.51.100.7"},
                                   {"X-Request-Id", "theirs"}}));
  CHECK(lines(head, "X-Forwarded-For") == "192.0.2.1");
  CHECK(lines(head, "X-Forwarded-Proto") == "http");
  CHECK(lines(head, "X-Forwarded-Host") == "a.test");
  CHECK(lines(head, "X-Real-IP") == "192.0.2.1");
  CHECK(lines(head, "Forwarded") == "for=192.0.2.1;host=a.test;proto=http");
  CHECK(lines(head, "X-Request-Id") == "id-1");
}

TEST_CASE("rewrite: names that a CGI program would read as ours do not pass") {
  // HTTP_X_FORWARDED_FOR stands for both spellings there.
  const Head head = forwarded(get({{"X_Forwarded_For", "198.51.100.7"},
                                   {"X-Forwarded_Proto", "https"},
                                   {"x_real-ip", "198.51.100.7"},
                                   {"Content_Length", "50"},
                                   {"My_Field", "stays"},
                                   {"_", "stays"}}));
  for (const std::string_view gone :
       {"X_Forwarded_For", "X-Forwarded_Proto", "x_real-ip", "Content_Length"}) {
    CHECK_MESSAGE(lines(head, gone) == "-", gone);
  }
  CHECK(lines(head, "My_Field") == "stays");
  CHECK(lines(head, "_") == "stays");
}

TEST_CASE("rewrite: what a trusted proxy says is kept, and it is added") {
  Head head = get({{"X-Forwarded-For", "198.51.100.7"},
                   {"X-Forwarded-Proto", "https"},
                   {"X-Forwarded-Host", "public.test"},
                   {"Forwarded", "for=198.51.100.7;proto=https"}});
  rewrite::request(head, proxy_before_us, "198.51.100.7", "proxycore", "id-1");
  CHECK(lines(head, "X-Forwarded-For") == "198.51.100.7, 10.0.0.9");
  CHECK(lines(head, "X-Forwarded-Proto") == "https");
  CHECK(lines(head, "X-Forwarded-Host") == "public.test");
  CHECK(lines(head, "X-Real-IP") == "198.51.100.7");
  CHECK(lines(head, "Forwarded") ==
        "for=198.51.100.7;proto=https, for=10.0.0.9;host=a.test;proto=http");
}

TEST_CASE("rewrite: several lines of a trusted proxy become one list (RFC 9110 §5.3)") {
  const Head head = forwarded(get({{"X-Forwarded-For", "198.51.100.7"},
                                   {"Forwarded", "for=198.51.100.7"},
                                   {"X-Forwarded-For", "198.51.100.8"},
                                   {"Via", "1.0 fred"},
                                   {"Via", "1.1 p.test"}}),
                              proxy_before_us);
  CHECK(lines(head, "X-Forwarded-For") == "198.51.100.7, 198.51.100.8, 10.0.0.9");
  CHECK(lines(head, "Forwarded") == "for=198.51.100.7, for=10.0.0.9;host=a.test;proto=http");
  CHECK(lines(head, "Via") == "1.0 fred, 1.1 p.test, 1.1 proxycore");
}

TEST_CASE("rewrite: a list longer than the room for short values stays whole") {
  std::string before = "198.51.100.7";
  for (int i = 0; i < 100; ++i) before += ", 198.51.100.8";
  const Head head = forwarded(get({{"X-Forwarded-For", before}}), proxy_before_us);
  CHECK(lines(head, "X-Forwarded-For") == before + ", 10.0.0.9");
}

TEST_CASE("rewrite: a trusted proxy that says nothing is completed") {
  const Head head = forwarded(get({}), proxy_before_us);
  CHECK(lines(head, "X-Forwarded-For") == "10.0.0.9");
  CHECK(lines(head, "X-Forwarded-Proto") == "http");
  CHECK(lines(head, "X-Forwarded-Host") == "a.test");
}

TEST_CASE("rewrite: the client's scheme is told, not the target's") {
  const Head head = forwarded(get({}), {"192.0.2.1", false, true});
  CHECK(lines(head, "X-Forwarded-Proto") == "https");
  CHECK(lines(head, "Forwarded") == "for=192.0.2.1;host=a.test;proto=https");
}

TEST_CASE("rewrite: Forwarded quotes what is no token (RFC 7239 §4, §6)") {
  const auto element = [](const ClientInfo& client, std::string_view authority) {
    Head head = get({});
    head.authority = authority;
    return lines(forwarded(std::move(head), client), "Forwarded");
  };
  CHECK(element({"2001:db8::7", false, false}, "a.test") ==
        "for=\"[2001:db8::7]\";host=a.test;proto=http");
  CHECK(element(stranger, "a.test:8080") == "for=192.0.2.1;host=\"a.test:8080\";proto=http");
  CHECK(element(stranger, "[::1]") == "for=192.0.2.1;host=\"[::1]\";proto=http");
  CHECK(element(stranger, "a,b=c") == "for=192.0.2.1;host=\"a,b=c\";proto=http");
  CHECK(element(stranger, "") == "for=192.0.2.1;proto=http");
  CHECK(element({"unix", false, false}, "a.test") == "for=unknown;host=a.test;proto=http");
}

TEST_CASE("rewrite: the client is the last address that is not a trusted proxy (RFC 7239 §8.1)") {
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7"}}) == "192.0.2.7");
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7, 10.1.2.3"}}) == "192.0.2.7");
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7,10.1.2.3 , 2001:db8:1::5,10.0.0.1"}}) ==
        "192.0.2.7");
  // What stands before it was said by that client.
  CHECK(client_address({{"X-Forwarded-For", "198.51.100.1, 192.0.2.7, 10.1.2.3"}}) == "192.0.2.7");
  CHECK(client_address({{"X-Forwarded-For", "10.6.6.6, 192.0.2.7, 10.1.2.3"}}) == "192.0.2.7");
  CHECK(client_address({{"X-Forwarded-For", "<script>, 192.0.2.7"}}) == "192.0.2.7");
  // All of them are ours: the first.
  CHECK(client_address({{"X-Forwarded-For", "10.1.2.3, 10.1.2.4"}}) == "10.1.2.3");
}

TEST_CASE("rewrite: several X-Forwarded-For lines are one list (RFC 9110 §5.3)") {
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7"}, {"X-Forwarded-For", "10.1.2.3"}}) ==
        "192.0.2.7");
  CHECK(client_address({{"X-Forwarded-For", "198.51.100.1"},
                        {"X-Forwarded-For", "192.0.2.7, 10.1.2.3"},
                        {"X-Forwarded-For", "10.1.2.4, 10.1.2.5"}}) == "192.0.2.7");
}

TEST_CASE("rewrite: ports and brackets in X-Forwarded-For are not the address") {
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7:1234"}}) == "192.0.2.7");
  CHECK(client_address({{"X-Forwarded-For", "[2001:db8::7]:1234"}}) == "2001:db8::7");
  CHECK(client_address({{"X-Forwarded-For", "[2001:db8::7]"}}) == "2001:db8::7");
  CHECK(client_address({{"X-Forwarded-For", "2001:db8::7"}}) == "2001:db8::7");
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7, [2001:db8:1::1]:80"}}) == "192.0.2.7");
}

TEST_CASE("rewrite: rubbish in X-Forwarded-For is nobody's address") {
  for (const std::string_view rubbish :
       {"", "unknown", "_hidden", "192.0.2", "192.0.2.7.8", "[", "[]", "[::1", ":",
        "::1::", "1:2:3", "192.0.2.7 10.1.2.3", "\"192.0.2.7\"", "a.test", "192.0.2.7,"}) {
    INFO(rubbish);
    const std::string address = client_address({{"X-Forwarded-For", rubbish}});
    CHECK((address == "10.0.0.9" || (rubbish == "[::1" && address == "::1")));
  }
  // Up to it, everything is known.
  CHECK(client_address({{"X-Forwarded-For", "192.0.2.7, rubbish, 10.1.2.3"}}) == "10.1.2.3");
}

TEST_CASE("rewrite: X-Real-IP counts where X-Forwarded-For says nothing") {
  CHECK(client_address({{"X-Real-IP", "192.0.2.7"}}) == "192.0.2.7");
  CHECK(client_address({{"X-Real-IP", "rubbish"}}) == "10.0.0.9");
  CHECK(client_address({{"X-Real-IP", "198.51.100.1"}, {"X-Forwarded-For", "192.0.2.7"}}) ==
        "192.0.2.7");
}

TEST_CASE("rewrite: a stranger's word on the client is not heard") {
  CHECK(client_address({{"X-Forwarded-For", "198.51.100.1"}, {"X-Real-IP", "198.51.100.1"}},
                       stranger) == "192.0.2.1");
}

TEST_CASE("trust: networks of both families, IPv4 as IPv6, and Unix sockets by name") {
  const auto address = [](std::string_view ip) { return *io::Address::parse(ip, 0); };
  const Trust some = trust({"10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "fe80::1"});
  for (const std::string_view ip : {"10.0.0.0", "10.255.255.255", "192.0.2.7", "::ffff:10.1.2.3",
                                    "2001:db8:ffff::1", "fe80::1"}) {
    CHECK_MESSAGE(some.trusts(address(ip)), ip);
  }
  for (const std::string_view ip : {"11.0.0.0", "9.255.255.255", "192.0.2.8", "::ffff:11.0.0.1",
                                    "2001:db9::1", "fe80::2", "::1", "::10.0.0.1"}) {
    CHECK_MESSAGE(!some.trusts(address(ip)), ip);
  }
  CHECK_FALSE(some.trusts(io::Address()));
  CHECK(trust({}, true).trusts(io::Address()));
  CHECK_FALSE(trust({}, true).trusts(address("127.0.0.1")));
  CHECK(trust({"0.0.0.0/0"}).trusts(address("203.0.113.1")));
  CHECK_FALSE(trust({"0.0.0.0/0"}).trusts(address("::1")));
}

// --- the target's name, and the way back

TEST_CASE("rewrite: Host is kept unless the route says otherwise") {
  Route route;
  const Target target{"app.internal", 8080};
  Head head = get({});
  rewrite::point_at(head, route, target);
  CHECK(head.authority == "a.test");
  route.pass_host = false;
  rewrite::point_at(head, route, target);
  CHECK(head.authority == "app.internal:8080");
  rewrite::point_at(head, route, {"2001:db8::1", 80});
  CHECK(head.authority == "[2001:db8::1]:80");
}

TEST_CASE("rewrite: a response loses its hop-by-hop fields and gains Date and the request id") {
  Head head = ok({{"Connection", "close, X-Hop"},
                  {"X-Hop", "1"},
                  {"Keep-Alive", "timeout=5"},
                  {"Upgrade", "h2c"},
                  {"X-Request-Id", "the origin's"},
                  {"Set-Cookie", "a"},
                  {"Set-Cookie", "b"}});
  rewrite::response(head, "id-1", "Sun, 06 Nov 1994 08:49:37 GMT");
  for (const std::string_view gone : {"Connection", "X-Hop", "Keep-Alive", "Upgrade"}) {
    CHECK_MESSAGE(lines(head, gone) == "-", gone);
  }
  CHECK(lines(head, "Date") == "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(lines(head, "X-Request-Id") == "id-1");
  CHECK(lines(head, "Set-Cookie") == "a | b");
}

TEST_CASE("rewrite: the origin's Date is kept (RFC 9110 §6.6.1)") {
  Head head = ok({{"Date", "Sat, 01 Jan 2000 00:00:00 GMT"}, {"Connection", "Date-Of-Birth"}});
  rewrite::response(head, "id-1", "Sun, 06 Nov 1994 08:49:37 GMT");
  CHECK(lines(head, "Date") == "Sat, 01 Jan 2000 00:00:00 GMT");
}

TEST_CASE("rewrite: Upgrade stays in a 101 and in a 426, which need it (RFC 9110 §15.5.22)") {
  Head head = ok({{"Upgrade", "TLS/1.2"}, {"Connection", "Upgrade"}});
  head.status = 426;
  rewrite::response(head, "id-1", "");
  CHECK(lines(head, "Upgrade") == "TLS/1.2");
  head = ok({{"Upgrade", "websocket"}, {"Connection", "Upgrade"}});
  head.status = 101;
  head.upgrade = true;
  rewrite::response(head, "id-1", "");
  CHECK(lines(head, "Upgrade") == "websocket");
}

TEST_CASE("rewrite: an interim response loses its hop-by-hop fields and gains nothing") {
  Head head = ok({{"Connection", "X-Hop"}, {"X-Hop", "1"}, {"Link", "</a.css>"}});
  head.status = 103;
  rewrite::interim(head);
  CHECK(lines(head, "X-Hop") == "-");
  CHECK(lines(head, "Link") == "</a.css>");
  CHECK(head.fields.size() == 1);
}

TEST_CASE("rewrite: TLS in front of us counts if we trust who says so") {
  http::Head head;
  CHECK(rewrite::is_secure(head, {.peer = "192.0.2.1", .tls = true}));
  head.fields.add(http::FieldId::x_forwarded_proto, "https");
  CHECK_FALSE(rewrite::is_secure(head, {.peer = "192.0.2.1"}));
  CHECK(rewrite::is_secure(head, {.peer = "192.0.2.1", .trusted = true}));
  head.fields.set(http::FieldId::x_forwarded_proto, "http");
  CHECK_FALSE(rewrite::is_secure(head, {.peer = "192.0.2.1", .trusted = true}));
}

TEST_CASE("rewrite: an origin's own Strict-Transport-Security stays") {
  http::Head head;
  rewrite::strict_transport(head);
  CHECK(head.fields.find("Strict-Transport-Security") == "max-age=31536000; includeSubDomains");
  http::Head own;
  own.fields.add("strict-transport-security", "max-age=60");
  rewrite::strict_transport(own);
  CHECK(own.fields.find("Strict-Transport-Security") == "max-age=60");
  CHECK(own.fields.size() == 1);
}
