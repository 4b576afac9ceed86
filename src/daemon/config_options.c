#include "daemon/config_options.h"

#define AT(member) offsetof(struct config, member)

#define KIB        ((uint64_t)1 << 10)
#define MIB        ((uint64_t)1 << 20)
#define GIB        ((uint64_t)1 << 30)
#define TIB        ((uint64_t)1 << 40)
#define SECOND     ((uint64_t)1000)
#define DAY        (86400 * SECOND)

/* clang-format off */
const struct option_row option_table[] = {
    { "server", "listen", OPTION_LIST, AT(listen), "127.0.0.1:8787", .doc = "HOST:PORT to serve on; may be repeated" },
    { "server", "data", OPTION_PATH, AT(data), CONFIG_DATA_DEFAULT, .doc = "data directory; one daemon each" },
    { "server", "images", OPTION_PATH, AT(images), NULL, .doc = "image store, may be shared; default: <data>/images" },
    { "server", "docker_socket", OPTION_PATH, AT(docker_socket), NULL, .doc = "unix socket for the Docker Engine API; default: none" },
    { "server", "docker_socket_mode", OPTION_CHOICE, AT(docker_socket_mode), "0660", .choices = "0600 0660 0666", .doc = "who may use it: as good as an API key" },
    { "server", "docker_socket_group", OPTION_TEXT, AT(docker_socket_group), NULL, .doc = "the group it belongs to; default: root's" },
    { "server", "user", OPTION_TEXT, AT(user), "berm", .doc = "user to run as; 62737 if there is none of that name" },
    { "server", "spawn", OPTION_PATH, AT(spawn), NULL, .doc = "the berm-spawn program; default: beside bermd" },
    { "server", "agent", OPTION_PATH, AT(agent), NULL, .doc = "the berm-agent program; default: beside bermd" },
    { "server", "spawn_fd", OPTION_NUMBER, AT(spawn_fd), NULL, 3, 1023, .doc = "inherited socket to a running berm-spawn; needs no root" },
    { "server", "log_format", OPTION_CHOICE, AT(log_format), "text", .choices = "text json", .doc = "form of the log lines on stderr" },
    { "server", "log_level", OPTION_CHOICE, AT(log_level), "info", .choices = "error warn info debug", .doc = "least severe level that is logged" },
    { "server", "drain_timeout", OPTION_DURATION, AT(drain_timeout_ms), "10s", 0, DAY, .doc = "time that requests in flight get on SIGTERM" },
    { "server", "trusted_proxies", OPTION_LIST, AT(trusted_proxies), NULL, .doc = "address or range of a proxy in front that is believed who asks, and whether by https; may be repeated" },
    { "server", "proxy_header", OPTION_CHOICE, AT(proxy_header), "x-forwarded", .choices = "x-forwarded forwarded", .doc = "where it says so: X-Forwarded-For and -Proto, or Forwarded (RFC 7239). It has to write them itself, whatever its clients send" },
    { "server", "max_connections", OPTION_NUMBER, AT(max_connections), "4096", 1, 65536, .doc = "open client connections" },
    { "server", "max_connections_peer", OPTION_NUMBER, AT(max_connections_peer), "0", 0, 65536, .doc = "the same per client address; 0: no limit. Loopback has none" },
    { "server", "max_body", OPTION_SIZE, AT(max_body), "64GiB", KIB, 16 * TIB, .doc = "largest request body that is passed on to a sandbox" },
    { "server", "max_file_put", OPTION_SIZE, AT(max_file_put), "32MiB", KIB, 16 * TIB, .doc = "largest file that one PUT writes; 32MiB is the bridge's" },
    { "server", "max_hydrate", OPTION_SIZE, AT(max_hydrate), "32MiB", KIB, 16 * TIB, .doc = "largest archive that hydrate takes; 32MiB is the bridge's" },

    { "tls", "listen", OPTION_LIST, AT(tls_listen), NULL, .doc = "HOST:PORT to serve TLS on; may be repeated" },
    { "tls", "certificate", OPTION_LIST, AT(tls_certificate), NULL, .doc = "absolute path of a PEM file: certificate and chain; may be repeated: clients get the one for the name they ask for, else the first. Read again when it changes, if server.user may" },
    { "tls", "key", OPTION_LIST, AT(tls_key), NULL, .doc = "PEM file of each certificate's key, in the same order; default: in the certificate's file" },

    { "auth", "keys_file", OPTION_PATH, AT(keys_file), NULL, .doc = "API keys, one a line, plain or as sha256:<hex>; read again on SIGHUP, if server.user may" },

    { "edge", "url", OPTION_TEXT, AT(edge_url), NULL, .doc = "what previews and tunnels are one label below, as https://sandbox.example.com; default: http://localhost and the first port of server.listen" },
    { "edge", "tunnels", OPTION_CHOICE, AT(edge_tunnels), "daemon", .choices = "daemon cloudflared off", .doc = "who makes the quick tunnels that code in a sandbox asks for: this daemon, or a cloudflared on the sandbox's PATH; off: nobody, nor do the routes of the API" },
    { "edge", "connector", OPTION_CHOICE, AT(edge_connector), "none", .choices = "none cloudflared", .doc = "cloudflared: tunnels go through Cloudflare's edge, by a cloudflared on this machine; without edge.cloudflared_token quick tunnels only, with it all that is below edge.url" },
    { "edge", "cloudflared", OPTION_PATH, AT(edge_cloudflared), NULL, .doc = "the cloudflared program; default: the one in /usr/local/bin, /usr/bin or /bin" },
    { "edge", "cloudflared_token", OPTION_PATH, AT(edge_cloudflared_token), NULL, .doc = "file with the token of a tunnel at Cloudflare, to which the names below edge.url lead; default: none" },
    { "edge", "connector_program", OPTION_PATH, AT(connector_program), NULL, .doc = "the berm-connector program; default: beside bermd" },
    { "edge", "link", OPTION_TEXT, AT(edge_link), NULL, .doc = "HOST:PORT of a bermd --edge that this daemon is reached by; default: none" },
    { "edge", "link_key", OPTION_PATH, AT(edge_link_key), NULL, .doc = "file with the key that this daemon has at that edge" },
    { "edge", "link_authority", OPTION_PATH, AT(edge_link_authority), NULL, .doc = "PEM file of who signed the edge's certificate; default: whom the system trusts" },
    { "edge", "link_transport", OPTION_CHOICE, AT(edge_link_transport), "auto", .choices = "auto quic h2", .doc = "how it is reached: by QUIC (UDP), by HTTP/2 over TLS (TCP), or whichever gets through; of bermd --edge: h2 leaves UDP alone" },
    { "edge", "link_listen", OPTION_TEXT, AT(edge_link_listen), "*:4433", .doc = "HOST:PORT, TCP and UDP, where bermd --edge waits for daemons" },
    { "edge", "link_keys", OPTION_PATH, AT(edge_link_keys), NULL, .doc = "the daemons that bermd --edge serves, one a line: NAME and its key, plain or as sha256:<hex>; read again on SIGHUP, if server.user may" },
    { "edge", "link_program", OPTION_PATH, AT(link_program), NULL, .doc = "the berm-link program; default: beside bermd" },

    { "sandbox", "image", OPTION_TEXT, AT(image), "base", .doc = "image of sandboxes that name none" },
    { "sandbox", "runtime", OPTION_TEXT, AT(runtime), "native", .doc = "native, or oci:<path of crun, runc, runsc>" },
    { "sandbox", "network", OPTION_CHOICE, AT(network), "internet", .choices = "internet none", .doc = "of sandboxes that name none: the internet as [egress] allows, or nothing but loopback" },
    { "sandbox", "bindings_file", OPTION_PATH, AT(bindings_file), NULL, .doc = "buckets that a mount names by binding, one a line: NAME BUCKET ENDPOINT [ACCESS_KEY_ID SECRET_ACCESS_KEY]; read again on SIGHUP, if server.user may" },
    { "sandbox", "memory", OPTION_SIZE, AT(memory), "1GiB", 4 * MIB, 64 * TIB, .doc = "default memory limit" },
    { "sandbox", "cpu", OPTION_NUMBER, AT(cpu), "1000", 10, 1024000, .doc = "default CPU limit in thousandths of a CPU" },
    { "sandbox", "pids", OPTION_NUMBER, AT(pids), "512", 2, 4194304, .doc = "default limit of processes and threads" },
    { "sandbox", "disk", OPTION_SIZE, AT(disk), "1GiB", MIB, 1024 * TIB, .doc = "default disk limit" },
    { "sandbox", "nofile", OPTION_NUMBER, AT(nofile), "4096", 64, 1048576, .doc = "default limit of open files per process" },
    { "sandbox", "max_memory", OPTION_SIZE, AT(max_memory), "16GiB", 4 * MIB, 64 * TIB, .doc = "most memory a client may ask for" },
    { "sandbox", "max_cpu", OPTION_NUMBER, AT(max_cpu), "64000", 10, 1024000, .doc = "most CPU, in thousandths" },
    { "sandbox", "max_pids", OPTION_NUMBER, AT(max_pids), "32768", 2, 4194304, .doc = "most processes" },
    { "sandbox", "max_disk", OPTION_SIZE, AT(max_disk), "64GiB", MIB, 1024 * TIB, .doc = "most disk" },
    { "sandbox", "max_nofile", OPTION_NUMBER, AT(max_nofile), "20000", 64, 1048576, .doc = "most open files" },
    { "sandbox", "sleep_after", OPTION_DURATION, AT(sleep_after_ms), "10m", SECOND, 365 * DAY, .doc = "time without a request after which a sandbox sleeps" },
    { "sandbox", "max_sandboxes", OPTION_NUMBER, AT(max_sandboxes), "2048", 1, 16384, .doc = "sandboxes that may run at once, warm ones included" },
    { "sandbox", "start_timeout", OPTION_DURATION, AT(start_timeout_ms), "30s", SECOND, 3600 * SECOND, .doc = "longest time a start may take" },
    { "sandbox", "agent_timeout", OPTION_DURATION, AT(agent_timeout_ms), "30s", SECOND, 3600 * SECOND, .doc = "time without any sign of life of a sandbox's agent after which requests that wait for it fail" },

    { "egress", "enabled", OPTION_CHOICE, AT(egress_enabled), "yes", .choices = "yes no", .doc = "no: no sandbox has a network, whatever it asks for" },
    { "egress", "mode", OPTION_CHOICE, AT(egress_mode), "allow", .choices = "allow deny", .doc = "policy of sandboxes that name none: the public internet, or nothing" },
    { "egress", "allow_cidrs", OPTION_LIST, AT(egress_allow_cidrs), NULL, .doc = "range that is not the public internet and yet treated like it; may be repeated" },
    { "egress", "deny_cidrs", OPTION_LIST, AT(egress_deny_cidrs), NULL, .doc = "range that no sandbox reaches, whatever its policy says; may be repeated" },
    { "egress", "resolvers", OPTION_TEXT, AT(egress_resolvers), NULL, .doc = "DNS servers, IP or IP:PORT, separated by commas; default: the host's" },
    { "egress", "proxy", OPTION_TEXT, AT(egress_proxy), NULL, .doc = "IP:PORT of an HTTP proxy that every connection goes through, by CONNECT to the address that was checked" },
    { "egress", "proxy_authorization", OPTION_TEXT, AT(egress_proxy_authorization), NULL, .doc = "file with USER:PASSWORD for the proxy" },
    { "egress", "ca_file", OPTION_TEXT, AT(egress_ca_file), NULL, .doc = "PEM of those who sign the servers that are trusted where TLS is intercepted; default: the host's" },
    { "egress", "max_connections", OPTION_NUMBER, AT(egress_max_connections), "256", 1, 16384, .doc = "open connections per sandbox; further ones wait" },
    { "egress", "connect_timeout", OPTION_DURATION, AT(egress_connect_timeout_ms), "10s", 100, 3600 * SECOND, .doc = "for each address that is tried, and for the first bytes where a policy needs them" },
    { "egress", "idle_timeout", OPTION_DURATION, AT(egress_idle_timeout_ms), "1h", SECOND, 365 * DAY, .doc = "time without a byte after which a connection is ended" },

    { "pool", "size", OPTION_NUMBER, AT(pool_size), "4", 0, 10000, .doc = "warm sandboxes kept per image; 0: none" },
    { "pool", "max", OPTION_NUMBER, AT(pool_max), "64", 0, 10000, .doc = "most warm sandboxes of all images together" },
    { "pool", "images", OPTION_LIST, AT(pool_images), NULL, .doc = "images with a warm pool, NAME or NAME:SIZE; default: sandbox.image" },
    { "pool", "slots", OPTION_NUMBER, AT(pool_slots), "16", 0, 1024, .doc = "sets of parts (namespaces, groups, disk) kept ready" },
};
/* clang-format on */

const size_t option_count = ARRAY_SIZE(option_table);

_Static_assert(ARRAY_SIZE(option_table) <= sizeof(((struct config *)NULL)->origins), "origins is too small");
