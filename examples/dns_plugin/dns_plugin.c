/* A DNS provider plugin in C99. Its "vendor" is the challenge test server that comes with the ACME
 * server pebble: DNS for tests, told what to say over HTTP. It links nothing; see
 * docs/plugin-abi.md and try it with: proxy-renew dns-plugin test ./dns_plugin.so */
#include <proxycore/dns_plugin.h>

#include <stdio.h>
#include <string.h>

typedef const proxycore_dns_host host; /* all that an instance needs: the settings are there, too */

static int fail(proxycore_dns_error* error, int status, const char* why) {
  snprintf(error->message, sizeof error->message, "%s", why);
  return status;
}

static int same(proxycore_str a, proxycore_str b) {
  return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* The zones are a setting: "one.test,two.test". Takes the first one off `rest`. */
static proxycore_str next_zone(proxycore_str* rest) {
  const char* comma = memchr(rest->data, ',', rest->size);
  proxycore_str zone = {rest->data, comma ? (size_t)(comma - rest->data) : rest->size};
  size_t taken = zone.size + (comma ? 1 : 0);
  rest->data += taken;
  rest->size -= taken;
  return zone;
}

/* "name.zone." of a record in one of our zones, or a failure. */
static int whole_name(host* h, const proxycore_dns_zone* zone, const proxycore_dns_record* record,
                      char name[300], proxycore_dns_error* error) {
  proxycore_str rest = h->setting(h->self, "zones");
  while (rest.size != 0) {
    if (!same(next_zone(&rest), zone->name)) continue;
    int apex = record->name.size == 1 && record->name.data[0] == '@';
    int size = snprintf(name, 300, "%.*s%s%.*s.", apex ? 0 : (int)record->name.size,
                        record->name.data, apex ? "" : ".", (int)zone->name.size, zone->name.data);
    return size < 300 ? PROXYCORE_DNS_OK
                      : fail(error, PROXYCORE_DNS_INVALID, "the name is too long");
  }
  return fail(error, PROXYCORE_DNS_ZONE_NOT_FOUND, "no such zone in the settings");
}

static int post(host* h, const char* call, const char* name, proxycore_str value,
                proxycore_dns_error* error) {
  static const proxycore_http_header json = {{"Content-Type", 12}, {"application/json", 16}};
  proxycore_str base = h->setting(h->self, "url");
  char url[512], body[1024];
  for (size_t i = 0; i < value.size; ++i)
    if (value.data[i] < ' ' || strchr("\"\\", value.data[i]))
      return fail(error, PROXYCORE_DNS_INVALID, "the value has characters that JSON would escape");
  int url_size = snprintf(url, sizeof url, "%.*s%s", (int)base.size, base.data, call);
  int body_size = snprintf(body, sizeof body, "{\"host\":\"%s\",\"value\":\"%.*s\"}", name,
                           (int)value.size, value.data);
  if (url_size >= (int)sizeof url || body_size >= (int)sizeof body)
    return fail(error, PROXYCORE_DNS_INVALID, "the setting 'url' is too long");
  proxycore_http_request request = {sizeof request, {"POST", 4}, {url, (size_t)url_size},
                                    &json,          1,           {body, (size_t)body_size}};
  proxycore_http_response response = {.size = sizeof response};
  int status = h->http(h->self, &request, &response, error);
  if (status == PROXYCORE_DNS_OK && response.status != 200) {
    snprintf(error->message, sizeof error->message, "%s: status %u", call,
             (unsigned)response.status);
    return PROXYCORE_DNS_UNAVAILABLE;
  }
  return status;
}

/* The values of a name: whether ours is one of them, and the others. */
struct values {
  proxycore_str ours;
  int found;
  size_t count;
  struct {
    char data[PROXYCORE_DNS_VALUE];
    size_t size;
  } others[16];
};

static void gather(void* context, proxycore_str text) {
  struct values* values = context;
  if (same(text, values->ours)) {
    values->found = 1;
  } else if (values->count < 16 && text.size <= PROXYCORE_DNS_VALUE) {
    memcpy(values->others[values->count].data, text.data, text.size);
    values->others[values->count++].size = text.size;
  }
}

static int look(host* h, const char* name, struct values* values, proxycore_dns_error* error) {
  proxycore_str bare = {name, strlen(name) - 1};
  return h->txt(h->self, bare, gather, values, error);
}

static int open_instance(const proxycore_dns_host* h, void** self, proxycore_dns_error* error) {
  (void)error;
  *self = (void*)h;
  return PROXYCORE_DNS_OK;
}
static void close_instance(void* self) {
  (void)self;
}

static int check(void* self, proxycore_dns_error* error) {
  host* h = self; /* there are no credentials: whether the server answers is all there is to ask */
  proxycore_http_request request = {.size = sizeof request, .url = h->setting(h->self, "url")};
  proxycore_http_response response = {.size = sizeof response};
  return h->http(h->self, &request, &response, error);
}

static int zones(void* self, proxycore_dns_zone_fn each, void* context,
                 proxycore_dns_error* error) {
  host* h = self;
  proxycore_str rest = h->setting(h->self, "zones");
  (void)error;
  while (rest.size != 0) {
    proxycore_dns_zone zone = {.size = sizeof zone, .name = next_zone(&rest)};
    each(context, &zone);
  }
  return PROXYCORE_DNS_OK;
}

static int add(void* self, const proxycore_dns_zone* zone, const proxycore_dns_record* record,
               char id[PROXYCORE_DNS_ID], proxycore_dns_error* error) {
  struct values there = {.ours = record->value};
  char name[300];
  (void)id; /* the server has none: remove() goes by the value */
  int status = whole_name(self, zone, record, name, error);
  if (status == PROXYCORE_DNS_OK) status = look(self, name, &there, error);
  if (status != PROXYCORE_DNS_OK || there.found) return status;
  return post(self, "/set-txt", name, record->value, error);
}

/* The server can only clear all values of a name: the others are put back. */
static int remove_value(void* self, const proxycore_dns_zone* zone,
                        const proxycore_dns_record* record, proxycore_dns_error* error) {
  struct values there = {.ours = record->value};
  proxycore_str nothing = {"", 0};
  char name[300];
  int status = whole_name(self, zone, record, name, error);
  if (status == PROXYCORE_DNS_OK) status = look(self, name, &there, error);
  if (status != PROXYCORE_DNS_OK || !there.found) return status;
  status = post(self, "/clear-txt", name, nothing, error);
  for (size_t i = 0; i < there.count && status == PROXYCORE_DNS_OK; ++i) {
    proxycore_str other = {there.others[i].data, there.others[i].size};
    status = post(self, "/set-txt", name, other, error);
  }
  return status;
}

static const proxycore_dns_field fields[] = {
    {"url", "Address of the management interface", "http://127.0.0.1:8055", 0},
    {"zones", "Zones", "with commas between", 0},
};

static const proxycore_dns_plugin plugin = {
    .size = sizeof plugin,
    .abi = PROXYCORE_DNS_ABI,
    .type = "challtestsrv",
    .title = "Challenge test server",
    .version = "1.0",
    .fields = fields,
    .field_count = sizeof fields / sizeof fields[0],
    .field_size = sizeof fields[0],
    .flags = PROXYCORE_DNS_SEVERAL_VALUES,
    .propagation_s = 10,
    .interval_s = 1,
    .open = open_instance,
    .close = close_instance,
    .check = check,
    .zones = zones,
    .add = add,
    .remove = remove_value,
};

const proxycore_dns_plugin* proxycore_dns_plugin_v1(uint32_t host_abi) {
  return host_abi >= PROXYCORE_DNS_ABI ? &plugin : NULL;
}
