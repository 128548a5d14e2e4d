#include "certs/exported.h"

#include "support/authority.h"
#include "support/temp_dir.h"
#include <proxycore/cert.h>
#include <proxycore/config.h>
#include <proxycore/store.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t life = 90 * 86'400;

Deadline soon() {
  return Deadline::in(Seconds{10});
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  REQUIRE_MESSAGE(file.good(), path.string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct Rig {
  test::TempDir dir;
  std::unique_ptr<Store> store = open_memory();
  Config config;
  const test::Authority root{test::Wanted{.common_name = "root"}};
  const CertBundle plain = root.issue({.dns = {"a.test", "x.a.test"}, .not_after = life});
  const CertBundle wildcard = root.issue({.dns = {"*.a.test", "a.test"}, .not_after = life});

  Rig() {
    config.acme.directory = "https://ca.test/acme/directory";
    REQUIRE(CertStore(*store).put("a.test", plain, soon()));
    REQUIRE(CertStore(*store).put("*.a.test", wildcard, soon()));
  }
  Result<std::size_t> write(CertificateLayout layout, std::vector<std::string> names = {},
                            bool replace = false) {
    return export_certificates(config, *store,
                               {.layout = layout,
                                .directory = dir.file("out"),
                                .names = std::move(names),
                                .replace = replace},
                               soon());
  }
  [[nodiscard]] fs::path at(const std::string& path) const { return dir.file("out/" + path); }
};

void is_private(const fs::path& path) {
  CAPTURE(path);
  CHECK((fs::status(path).permissions() & (fs::perms::group_all | fs::perms::others_all)) ==
        fs::perms::none);
}

}  // namespace

TEST_CASE("export: as certbot keeps them") {
  Rig rig;
  const auto count = rig.write(CertificateLayout::certbot);
  REQUIRE_MESSAGE(count, count.error().message());
  CHECK(*count == 2);
  CHECK(text_of(rig.at("live/a.test/fullchain.pem")) == rig.plain.chain_pem);
  CHECK(text_of(rig.at("live/a.test/privkey.pem")) == rig.plain.key_pem);
  CHECK(text_of(rig.at("live/a.test/cert.pem")) + text_of(rig.at("live/a.test/chain.pem")) ==
        rig.plain.chain_pem);
  CHECK(fs::read_symlink(rig.at("live/a.test/cert.pem")) == "../../archive/a.test/cert1.pem");
  CHECK(text_of(rig.at("live/a.test-0001/fullchain.pem")) == rig.wildcard.chain_pem);
  const std::string conf = text_of(rig.at("renewal/a.test.conf"));
  CHECK(conf.find("fullchain = " + rig.at("live/a.test/fullchain.pem").string() + "\n") !=
        std::string::npos);
  CHECK(conf.find("server = https://ca.test/acme/directory\n") != std::string::npos);
  is_private(rig.at("archive/a.test/privkey1.pem"));
  is_private(rig.at("archive/a.test"));
  is_private(rig.at(""));
}

TEST_CASE("export: as certmagic keeps them") {
  Rig rig;
  REQUIRE(rig.write(CertificateLayout::certmagic, {"*.A.test"}));
  const std::string folder = "certificates/ca.test-acme-directory/wildcard_.a.test/";
  CHECK(text_of(rig.at(folder + "wildcard_.a.test.crt")) == rig.wildcard.chain_pem);
  CHECK(text_of(rig.at(folder + "wildcard_.a.test.key")) == rig.wildcard.key_pem);
  CHECK(text_of(rig.at(folder + "wildcard_.a.test.json")) ==
        R"({"sans":["*.a.test","a.test"],"issuer_data":{"ca":"https://ca.test/acme/directory"}})");
  is_private(rig.at(folder + "wildcard_.a.test.key"));
  CHECK_FALSE(fs::exists(rig.at("certificates/ca.test-acme-directory/a.test")));
}

TEST_CASE("export: what is there stays, unless it may be replaced") {
  for (const auto layout : {CertificateLayout::certbot, CertificateLayout::certmagic}) {
    Rig rig;
    REQUIRE(rig.write(layout, {"a.test"}));
    REQUIRE(CertStore(*rig.store).put("a.test", rig.wildcard, soon()));
    const auto again = rig.write(layout, {"a.test"});
    REQUIRE_FALSE(again);
    CHECK(again.error().code == Errc::conflict);
    CHECK(again.error().detail.find(rig.at("").string()) != std::string::npos);
    const fs::path file = layout == CertificateLayout::certbot
                              ? rig.at("live/a.test/fullchain.pem")
                              : rig.at("certificates/ca.test-acme-directory/a.test/a.test.crt");
    CHECK(text_of(file) == rig.plain.chain_pem);
    REQUIRE(rig.write(layout, {"a.test"}, true));
    CHECK(text_of(file) == rig.wildcard.chain_pem);
  }
}

TEST_CASE("export: a name that the store has not, and a directory that cannot be, are told") {
  Rig rig;
  CHECK(rig.write(CertificateLayout::certbot, {"b.test"}).error().code == Errc::not_found);
  CHECK(rig.write(CertificateLayout::certbot, {"../a.test"}).error().code == Errc::invalid);
  std::ofstream(rig.dir.file("out")) << "a file";
  const auto written = rig.write(CertificateLayout::certbot);
  REQUIRE_FALSE(written);
  CHECK(written.error().detail.find("out") != std::string::npos);
}
