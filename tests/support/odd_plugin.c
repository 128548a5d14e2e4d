/* A plugin as none should be, for tests. ODD_... macros choose one that cannot even be loaded; of
 * the one that can, the setting "way" says what its check() and its other calls do. */
#include <proxycore/dns_plugin.h>

#include <string.h>

#ifndef ODD_NO_SYMBOL

typedef const proxycore_dns_host host;

static int is_way(host* h, const char* way) {
  proxycore_str is = h->setting(h->self, "way");
  return is.size == strlen(way) && memcmp(is.data, way, is.size) == 0;
}

static void say(proxycore_dns_error* error, proxycore_str text) {
  size_t size = text.size < PROXYCORE_DNS_MESSAGE ? text.size : PROXYCORE_DNS_MESSAGE - 1;
  memcpy(error->message, text.data, size);
  error->message[size] = 0;
}

static int get(host* h, proxycore_http_response* response, proxycore_dns_error* error) {
  proxycore_http_request request = {.size = sizeof request, .url = h->setting(h->self, "url")};
  memset(response, 0, sizeof *response);
  response->size = sizeof *response;
  return h->http(h->self, &request, response, error);
}

static int open_instance(const proxycore_dns_host* h, void** self, proxycore_dns_error* error) {
  proxycore_http_response response;
  *self = (void*)h;
  return is_way(h, "http while opening") ? get(h, &response, error) : PROXYCORE_DNS_OK;
}

static void close_instance(void* self) {
  (void)self;
}

static int check(void* self, proxycore_dns_error* error) {
  host* h = self;
  proxycore_http_response response;
  if (is_way(h, "unknown status")) return 4711;
  if (is_way(h, "message without end")) {
    memset(error->message, 'x', sizeof error->message);
    return PROXYCORE_DNS_UNSUPPORTED;
  }
  if (is_way(h, "secret")) {
    h->log(h->self, PROXYCORE_LOG_WARNING, h->setting(h->self, "token"));
    say(error, h->setting(h->self, "token"));
    return PROXYCORE_DNS_AUTH;
  }
  if (is_way(h, "http")) {
    int status = get(h, &response, error);
    if (status != PROXYCORE_DNS_OK) return status;
    for (size_t i = 0; i < response.header_count; ++i)
      if (response.headers[i].name.size == 8) say(error, response.headers[i].value);
    return response.status == 418 ? PROXYCORE_DNS_QUOTA : PROXYCORE_DNS_OK;
  }
  if (is_way(h, "small structs")) {
    proxycore_http_request request = {.size = 4};
    return h->http(h->self, &request, &response, error);
  }
  if (is_way(h, "clock"))
    return h->now_ms(h->self) > 1600000000000 ? PROXYCORE_DNS_OK : PROXYCORE_DNS_INVALID;
  return PROXYCORE_DNS_OK;
}

static int zones(void* self, proxycore_dns_zone_fn each, void* context,
                 proxycore_dns_error* error) {
  proxycore_dns_zone zone = {sizeof zone, {"Example.COM.", 12}, {"", 0}};
  (void)error;
  each(context, &zone);
  if (is_way(self, "zone without name")) {
    proxycore_dns_zone none = {sizeof none, {NULL, 0}, {NULL, 0}};
    each(context, &none);
  }
  return PROXYCORE_DNS_OK;
}

static int add(void* self, const proxycore_dns_zone* zone, const proxycore_dns_record* record,
               char id[PROXYCORE_DNS_ID], proxycore_dns_error* error) {
  (void)self, (void)zone, (void)record, (void)error;
  memset(id, 'i', PROXYCORE_DNS_ID);
  return PROXYCORE_DNS_OK;
}

static int remove_value(void* self, const proxycore_dns_zone* zone,
                        const proxycore_dns_record* record, proxycore_dns_error* error) {
  (void)self, (void)zone, (void)record, (void)error;
  return PROXYCORE_DNS_CONFLICT;
}

/* As a plugin of a later header could have them: larger than ours. */
typedef struct later_field {
  proxycore_dns_field known;
  const char* pattern;
} later_field;

static const later_field fields[] = {
    {{"way", "Way", NULL, 0}, ".*"},
    {{"token", NULL, "never shown", PROXYCORE_DNS_FIELD_SECRET | PROXYCORE_DNS_FIELD_OPTIONAL},
     ".*"},
    {{"url", "Address", NULL, PROXYCORE_DNS_FIELD_OPTIONAL}, ".*"},
};

static const proxycore_dns_plugin plugin = {
#ifdef ODD_SHORT
    .size = 16,
#else
    .size = sizeof plugin,
#endif
    .abi = PROXYCORE_DNS_ABI,
#ifdef ODD_TYPE
    .type = "not a type",
#else
    .type = "odd",
#endif
    .fields = &fields[0].known,
    .field_count = sizeof fields / sizeof fields[0],
    .field_size = sizeof fields[0],
    .open = open_instance,
    .close = close_instance,
    .check = check,
    .zones = zones,
    .add = add,
#ifndef ODD_LACKING
    .remove = remove_value,
#endif
};

const proxycore_dns_plugin* proxycore_dns_plugin_v1(uint32_t host_abi) {
  (void)remove_value;
#ifdef ODD_DECLINING
  return host_abi > 1000 ? &plugin : NULL;
#else
  return host_abi >= 1 ? &plugin : NULL;
#endif
}

#else
extern int odd_plugin_is_none;
int odd_plugin_is_none = 1;
#endif
