// Schemas of what the API takes and gives, as the OpenAPI document has them, and its query
// parameters. Endpoints name them.
//
// A reply may have more than its schema says, never less. Source: JSON Schema 2020-12.
// Thread: constants.
#pragma once

#include <string_view>

namespace proxycore::admin {

struct Schema {
  std::string_view name;
  std::string_view json;
};

#define PX_REF(name) "{\"$ref\":\"#/components/schemas/" name "\"}"

inline constexpr Schema schemas[] = {
    {"Anything", R"({})"},
    {"Health", R"({"type":"object","required":["status"],"properties":{"status":{"const":"ok"}}})"},
    {"Message",
     R"({"type":"object","required":["message"],"properties":{"message":{"type":"string"}}})"},
    {"Problem",
     R"({"type":"object","required":["name","message"],"properties":{"name":{"type":"string"},)"
     R"("message":{"oneOf":[{"type":"string"},{"type":"array","items":)" PX_REF(
         "FieldProblem") R"(}]},)"
                         R"("keys":{"type":"array","items":)" PX_REF("FieldProblem") R"(}}})"},
    {"FieldProblem", R"({"type":"object","required":["key","message"],)"
                     R"("properties":{"key":{"type":"string"},"message":{"type":"string"}}})"},
    {"Problem9457",
     R"({"type":"object","required":["type","title","status","detail","name"],"properties":{)"
     R"("type":{"type":"string"},"title":{"type":"string"},"status":{"type":"integer"},)"
     R"("detail":{"type":"string"},"name":{"type":"string"},"errors":{"type":"array","items":)" PX_REF(
         "FieldProblem") R"(}}})"},
    {"Event",
     R"({"type":"object","description":"The data of each event.","required":["topic","data"],)"
     R"("properties":{"topic":{"type":"string",)"
     R"("pattern":"^model:[A-Za-z]+:(create|update|remove):"},)"
     R"("data":{"type":["object","null"]}}})"},

    {"Login", R"({"type":"object","required":["username","password"],"properties":{)"
              R"("username":{"type":"string"},"password":{"type":"string"},)"
              R"("cookie":{"type":"boolean","description":"For pages: no token is shown."}}})"},
    {"LoggedIn",
     R"({"type":"object","required":["login","message"],"properties":{"login":{"const":true},)"
     R"("token":{"type":"string"},"csrf":{"type":"string"},"message":{"type":"string"}}})"},
    {"Role", R"({"enum":["viewer","manager","admin"]})"},
    {"Session",
     R"({"type":"object","required":["username","admin","open","password_expired","grants",)"
     R"("at_most","ends"],"properties":{"username":{"type":"string"},"admin":{"type":"boolean"},)"
     R"("open":{"type":"boolean","description":"Everybody is an administrator."},)"
     R"("password_expired":{"type":"boolean"},"csrf":{"type":"string"},)"
     R"("grants":{"type":"array","items":{"type":"object","required":["role","domain"],)"
     R"("properties":{"role":)" PX_REF("Role") R"(,"domain":{"type":"string"}}}},)"
                                               R"("at_most":)" PX_REF(
                                                   "Role") R"(,"ends":{"type":"integer"}}})"},
    {"User",
     R"({"type":"object","required":["username","backing","disabled"],"properties":{)"
     R"("username":{"type":"string"},"backing":{"type":"string"},"disabled":{"type":"boolean"},)"
     R"("created_by":{"type":"string"},"created_on":{"type":"string"},)"
     R"("updated_by":{"type":"string"},"updated_on":{"type":"string"}}})"},
    {"UserList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array",)"
     R"("items":{"oneOf":[{"type":"string"},)" PX_REF("User") R"(]}}}})"},
    {"UserRecord",
     R"({"type":"object","required":["results"],"properties":{"results":)" PX_REF("User") R"(}})"},
    {"ChangedUser",
     R"({"allOf":[)" PX_REF("User") R"(],"required":["message"],)"
                                    R"("properties":{"message":{"type":"string"}}})"},
    {"NewUser", R"({"type":"object","required":["username","password"],"properties":{)"
                R"("username":{"type":"string","maxLength":64,"pattern":"^[A-Za-z0-9._@-]+$"},)"
                R"("password":{"type":"string","minLength":8,"maxLength":72}}})"},
    {"UserChange", R"({"type":"object","required":["disabled"],"properties":{)"
                   R"("disabled":{"type":"boolean"}}})"},
    {"NewPassword", R"({"type":"object","required":["password"],"properties":{)"
                    R"("password":{"type":"string","minLength":8,"maxLength":72}}})"},
    {"Me",
     R"({"type":"object","required":["username","isAdmin","global","domains"],"properties":{)"
     R"("username":{"type":"string"},"isAdmin":{"type":"boolean"},)"
     R"("global":{"oneOf":[{"type":"null"},)" PX_REF(
         "Role") R"(]},)"
                 R"("domains":{"type":"object","additionalProperties":)" PX_REF("Role") R"(}}})"},
    {"PermissionFields",
     R"({"type":"object","properties":{"subjectType":{"const":"user"},)"
     R"("subject":{"type":"string"},"scope":{"enum":["global","domain"]},)"
     R"("domain":{"type":"string","description":"With all names below it; * is one label, ** any )"
     R"(number."},"role":)" PX_REF("Role") R"(}})"},
    {"NewPermission",
     R"({"allOf":[)" PX_REF("PermissionFields") R"(],)"
                                                R"("required":["subject","role"]})"},
    {"PermissionChange", PX_REF("PermissionFields")},
    {"Permission",
     R"({"type":"object","required":["id","subjectType","subject","scope","domain","role"],)"
     R"("properties":{"id":{"type":"string"},"subjectType":{"enum":["user","group"]},)"
     R"("subject":{"type":"string"},"scope":{"enum":["global","domain"]},)"
     R"("domain":{"type":"string"},"role":)" PX_REF(
         "Role") R"(,)"
                 R"("created_by":{"type":"string"},"created_on":{"type":"string"}}})"},
    {"PermissionList",
     R"({"type":"object","required":["results","open"],"properties":{"results":{"type":"array",)"
     R"("items":)" PX_REF("Permission") R"(},"open":{"type":"boolean"}}})"},
    {"ChangedPermission",
     R"({"allOf":[)" PX_REF("Permission") R"(],"required":["message"],)"
                                          R"("properties":{"message":{"type":"string"}}})"},
    {"Subjects", R"({"type":"object","required":["users","groups"],"properties":{)"
                 R"("users":{"type":"array","items":{"type":"string"}},)"
                 R"("groups":{"type":"array","items":{"type":"string"}}}})"},
    {"ApiTokenFields",
     R"({"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":255},)"
     R"("description":{"type":"string","maxLength":1000},"role":)" PX_REF(
         "Role") R"(,)"
                 R"("expires_at":{"type":"integer","description":"Milliseconds since 1970; 0: never."},)"
                 R"("expires_in_days":{"type":["integer","string"],"description":"In its place."}}})"},
    {"NewApiToken", R"({"allOf":[)" PX_REF("ApiTokenFields") R"(],"required":["name"]})"},
    {"ApiTokenChange", PX_REF("ApiTokenFields")},
    {"ApiToken",
     R"({"type":"object","required":["id","name","description","created_by","role","created_on",)"
     R"("expires_at","last_used_on","is_valid"],"properties":{"id":{"type":"string"},)"
     R"("name":{"type":"string"},"description":{"type":"string"},)"
     R"("created_by":{"type":"string"},"role":{"enum":["none","viewer","manager","admin"]},)"
     R"("created_on":{"type":"string"},"expires_at":{"type":"integer"},)"
     R"("last_used_on":{"type":"integer"},"is_valid":{"type":"boolean"}}})"},
    {"ApiTokenList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array",)"
     R"("items":)" PX_REF("ApiToken") R"(}}})"},
    {"OneApiToken", R"({"type":"object","required":["results"],"properties":{"results":)" PX_REF(
                        "ApiToken") R"(}})"},
    {"MadeApiToken",
     R"({"type":"object","required":["results","token","message"],"properties":{"results":)" PX_REF(
         "ApiToken") R"(,"token":{"type":"string"},"message":{"type":"string"}}})"},
    {"Audit",
     R"({"type":"object","required":["results","next"],"properties":{"results":{"type":"array",)"
     R"("items":{"type":"object","required":["id","at","who","how","what","key","changes"],)"
     R"("properties":{"id":{"type":"string"},"at":{"type":"integer"},"who":{"type":"string"},)"
     R"("how":{"type":"string"},"what":{"type":"string"},"key":{"type":"string"},)"
     R"("changes":{"type":"object"}}}},"next":{"type":["string","null"]}}})"},

    {"HostFields",
     R"({"type":"object","properties":{)"
     R"("host":{"type":"string","description":"Name or pattern: * is one label, ** are several."},)"
     R"("ip":{"type":"string","description":"Address or name of the first target."},)"
     R"("targetPort":{"type":"integer","minimum":1,"maximum":65535},)"
     R"("targets":{"type":"array","items":{"type":"string"},"maxItems":256,)"
     R"("description":"Further targets, address:port."},)"
     R"("forcessl":{"type":"boolean","default":true},)"
     R"("hsts_enabled":{"type":"boolean","default":false},)"
     R"("targetssl":{"type":"boolean","default":false,"description":"TLS to the targets."},)"
     R"("targetVerify":{"type":["boolean","null"],"description":"Verifies their certificates."},)"
     R"("targetServerName":{"type":["string","null"]},)"
     R"("challengeType":{"type":["string","null"],)"
     R"("enum":["HTTP-01","DNS-01","DNS-01-wildcard","wildcardChild","none","",null]},)"
     R"("host-pass-though":{"type":"boolean","default":true,)"
     R"("description":"false: targets get their own name as Host."},)"
     R"("connectTimeout":{"type":["integer","null"],"minimum":1,"maximum":600000},)"
     R"("firstByteTimeout":{"type":["integer","null"],"minimum":1,"maximum":86400000},)"
     R"("idleTimeout":{"type":["integer","null"],"minimum":1,"maximum":86400000},)"
     R"("is_wildcard":{"type":"boolean"},)"
     R"("wildcard_parent":{"type":["string","null"]}}})"},
    {"NewHost", R"({"allOf":[)" PX_REF("HostFields") R"(],"required":["host","ip","targetPort"]})"},
    {"HostChange", PX_REF("HostFields")},
    {"Host",
     R"({"allOf":[)" PX_REF(
         "HostFields") R"(],"required":["host","ip","targetPort","targets",)"
                       R"("forcessl","targetssl","is_cache","is_wildcard"],"properties":{)"
                       R"("is_cache":{"type":"boolean"},"created_by":{"type":"string"},)"
                       R"("created_on":{"type":"string","description":"Milliseconds since 1970."},)"
                       R"("updated_by":{"type":"string"},"updated_on":{"type":"string"},)"
                       R"("wildcard_status":{"type":"string"},"wildcard_expires":{"type":["integer","null"]},)"
                       R"("certificate":)" PX_REF("Story") R"(}})"},
    {"HostList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array",)"
     R"("items":{"oneOf":[{"type":"string"},)" PX_REF(
         "Host") R"(]}},)"
                 R"("total":{"type":"integer"},"next":{"type":["string","null"]}}})"},
    {"OneHost",
     R"({"type":"object","required":["item","results"],"properties":{"item":{"type":"string"},)"
     R"("results":)" PX_REF("Host") R"(}})"},
    {"ChangedHost",
     R"({"allOf":[)" PX_REF(
         "Host") R"(],"required":["message"],"properties":{)"
                 R"("message":{"type":"string"},"__requestedHost":{"type":"string"}}})"},
    {"LookedUp",
     R"({"type":"object","required":["string"],"properties":{"string":{"type":"string"},)"
     R"("results":)" PX_REF("Host") R"(}})"},
    {"WildcardParent",
     R"({"type":"object","required":["results"],"properties":{"results":{"oneOf":[)"
     R"({"type":"null"},)" PX_REF("Host") R"(]}}})"},
    {"HostTree",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"object"}}})"},
    {"Cleared", R"({"type":"object","required":["message","count"],"properties":{)"
                R"("message":{"type":"string"},"count":{"type":"integer"}}})"},
    {"Explanation", R"({"type":"object","required":["string","results"],"properties":{)"
                    R"("string":{"type":"string"},"results":{"type":"object"}}})"},

    {"Story",
     R"({"type":"object","required":["name","state","failures"],"properties":{)"
     R"("name":{"type":"string"},)"
     R"("state":{"enum":["waiting","working","valid","failing","idle"]},)"
     R"("identifiers":{"type":"array","items":{"type":"string"}},"host":{"type":"string"},)"
     R"("next":{"type":"string"},"why":{"type":"string"},"failures":{"type":"integer"},)"
     R"("not_before":{"type":"string"},"not_after":{"type":"string"},)"
     R"("issuer":{"type":"string"},"serial":{"type":"string"},)"
     R"("attempts":{"type":"array","items":{"type":"object"}}}})"},
    {"StoryList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array","items":)" PX_REF(
         "Story") R"(},"total":{"type":"integer"},"next":{"type":"string"}}})"},
    {"OneStory",
     R"({"type":"object","required":["results"],"properties":{"results":)" PX_REF("Story") R"(}})"},
    {"Certificate",
     R"({"type":"object","required":["fullchain_pem","privkey_pem"],"properties":{)"
     R"("fullchain_pem":{"type":"string"},"cert_pem":{"type":"string"},)"
     R"("csr_pem":{"type":"string"},"expiry":{"type":"integer"},)"
     R"("real_expiry":{"type":"integer"},"privkey_pem":{"oneOf":[{"type":"string"},)" PX_REF(
         "Secret") R"(]}}})"},
    {"Secret", R"({"type":"object","description":"Stands for a secret, which is never shown.",)"
               R"("required":["set"],"properties":{"set":{"type":"boolean"}}})"},

    {"NewDnsProvider",
     R"({"type":"object","description":"And what OPTIONS /api/dns says that the type wants.",)"
     R"("required":["name","dnsProvider"],"properties":{"name":{"type":"string"},)"
     R"("dnsProvider":{"type":"string","description":"The type."}},)"
     R"("additionalProperties":{"type":"string"}})"},
    {"DnsProviderChange",
     R"({"type":"object","description":"What is left out stays; so does a secret that is empty.",)"
     R"("properties":{"name":{"type":"string"},"dnsProvider":{"type":"string"}}})"},
    {"DnsProvider",
     R"({"type":"object","required":["id","name","dnsProvider","displayName"],"properties":{)"
     R"("id":{"type":"string"},"name":{"type":"string"},"dnsProvider":{"type":"string"},)"
     R"("displayName":{"type":"string"},"displayIconUni":{"type":"string"},)"
     R"("displayIconHtml":{"type":"string","description":"A data URL."},)"
     R"("fields":{"type":"object","description":"As in DnsTypeList."},)"
     R"("created_by":{"type":"string"},)"
     R"("created_on":{"type":"string"},"updated_by":{"type":"string"},)"
     R"("updated_on":{"type":"string"},"domains":{"type":"array","items":)" PX_REF(
         "Domain") R"(}}})"},
    {"DnsProviderList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array",)"
     R"("items":{"oneOf":[{"type":"string"},)" PX_REF("DnsProvider") R"(]}}}})"},
    {"OneDnsProvider",
     R"({"type":"object","required":["item","results"],"properties":{"item":{"type":"string"},)"
     R"("results":)" PX_REF("DnsProvider") R"(}})"},
    {"ChangedDnsProvider",
     R"({"allOf":[)" PX_REF(
         "DnsProvider") R"(],"required":["message"],"properties":{)"
                        R"("message":{"type":"string"},"__requestedHost":{"type":"string"}}})"},
    {"DnsTypeList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array","items":{)"
     R"("type":"object","required":["name","displayName","fields"],"properties":{)"
     R"("name":{"type":"string"},"displayName":{"type":"string"},"fields":{"type":"object",)"
     R"("additionalProperties":{"type":"object",)"
     R"("required":["displayName","type","isRequired","isPrivate"],"properties":{)"
     R"("displayName":{"type":"string"},"type":{"const":"string"},)"
     R"("isRequired":{"type":"boolean"},"isPrivate":{"type":"boolean"},)"
     R"("help":{"type":"string"}}}}}}}}})"},
    {"Domain", R"({"type":"object","required":["domain","dnsProvider_id"],"properties":{)"
               R"("domain":{"type":"string"},"dnsProvider_id":{"type":"string"},)"
               R"("zoneId":{"type":"string"},"created_by":{"type":"string"},)"
               R"("created_on":{"type":"string"},"updated_by":{"type":"string"},)"
               R"("updated_on":{"type":"string"},"dnsProvider":)" PX_REF("DnsProvider") R"(}})"},
    {"DomainList",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array",)"
     R"("items":{"oneOf":[{"type":"string"},)" PX_REF("Domain") R"(]}}}})"},
    {"FoundDomain",
     R"({"type":"object","required":["results"],"properties":{"results":{"type":"array","items":)" PX_REF(
         "Domain") R"(}}})"},
    {"RefreshedDomains",
     R"({"type":"object","required":["domains"],"properties":{"domains":{"type":"array",)"
     R"("items":{"type":"string"}}}})"},

    {"TargetList", R"({"type":"object","required":["targets","reachable","why"],"properties":{)"
                   R"("targets":{"type":"array","items":{"type":"object",)"
                   R"("required":["target","state","failures","since"],"properties":{)"
                   R"("target":{"type":"string"},"state":{"enum":["up","resting"]},)"
                   R"("failures":{"type":"integer"},"since":{"type":"integer"}}}},)"
                   R"("reachable":{"type":"boolean"},"why":{"type":"string"}}})"},
    {"System",
     R"({"type":"object",)"
     R"("required":["version","time","listeners","store","hosts","open","proxy","metrics"],)"
     R"("properties":{"version":{"type":"string"},"time":{"type":"integer"},)"
     R"("listeners":{"type":"object","additionalProperties":{"type":"array",)"
     R"("items":{"type":"string"}}},"store":{"type":"object",)"
     R"("required":["url","reachable","roundTripMs"],"properties":{"url":{"type":"string"},)"
     R"("reachable":{"type":"boolean"},"why":{"type":"string"},"events":{"type":"string"},)"
     R"("lagMs":{"type":"integer"},"roundTripMs":{"type":"number"},)"
     R"("usedBytes":{"type":["integer","null"]}}},"hosts":{"type":"integer"},)"
     R"("open":{"type":"boolean","description":"Everybody is an administrator."},)"
     R"("proxy":{"type":"object","required":["reachable","why"],"properties":{)"
     R"("reachable":{"type":"boolean"},"why":{"type":"string"}}},)"
     R"("metrics":{"type":["object","null"],)"
     R"("description":"Counts since the proxyd began."}}})"},
};

#undef PX_REF

struct Parameter {
  std::string_view name;
  std::string_view description;
  std::string_view schema = R"({"type":"string"})";
};

inline constexpr Parameter parameters[] = {
    {"detail", "Not empty: records in place of names."},
    {"limit", "How many at most, and the shape of a page: with `total` and `next`.",
     R"({"type":"integer","minimum":1,"maximum":1000})"},
    {"cursor", "`next` of the page before."},
    {"q", "Only what has this in its name or targets."},
    {"show", "`down`: with a target that rests; `certificate`: whose certificate fails."},
    {"state", "Only certificates in this state."},
};

}  // namespace proxycore::admin
