#include "link/options.h"

#include <fcntl.h>
#include <getopt.h>

#define HOST_MAX 253

enum { WIRE = 1, HOST, PORT, AUTHORITY, TRANSPORT, TCP, UDP, CERTIFICATE, KEY };

static const struct option dial_options[] = {
    { "wire", required_argument, NULL, WIRE },           { "host", required_argument, NULL, HOST },
    { "port", required_argument, NULL, PORT },           { "authority", required_argument, NULL, AUTHORITY },
    { "transport", required_argument, NULL, TRANSPORT }, { 0 },
};

static const struct option listen_options[] = {
    { "wire", required_argument, NULL, WIRE }, { "tcp", required_argument, NULL, TCP },
    { "udp", required_argument, NULL, UDP },   { "certificate", required_argument, NULL, CERTIFICATE },
    { "key", required_argument, NULL, KEY },   { 0 },
};

static int take_fd(const char *text, int *ret, struct berm_error *err)
{
    uint64_t number;

    if (str_to_u64(str_from(text), &number) < 0 || number < 3 || number > INT32_MAX ||
        fcntl((int)number, F_GETFD) < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "%s is no descriptor that is open", text);
    *ret = (int)number;
    return 0;
}

static int take_port(const char *text, uint16_t *ret, struct berm_error *err)
{
    uint64_t number;

    if (str_to_u64(str_from(text), &number) < 0 || number == 0 || number > UINT16_MAX)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "%s is no port", text);
    *ret = (uint16_t)number;
    return 0;
}

static int take_transport(const char *text, enum dial_transport *ret, struct berm_error *err)
{
    static const char *const names[] = { [DIAL_AUTO] = "auto", [DIAL_QUIC] = "quic", [DIAL_H2] = "h2" };

    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *ret = (enum dial_transport)i;
            return 0;
        }
    return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "--transport is auto, quic or h2, not %s", text);
}

static int take(int option, struct link_options *o, struct berm_error *err)
{
    switch (option) {
    case WIRE:
        return take_fd(optarg, &o->wire, err);
    case TCP:
        return take_fd(optarg, &o->tcp, err);
    case UDP:
        return take_fd(optarg, &o->udp, err);
    case HOST:
        o->host = optarg;
        return 0;
    case PORT:
        return take_port(optarg, &o->port, err);
    case TRANSPORT:
        return take_transport(optarg, &o->transport, err);
    case AUTHORITY:
        o->authority = optarg;
        return 0;
    case CERTIFICATE:
        o->certificate = optarg;
        return 0;
    case KEY:
        o->key = optarg;
        return 0;
    default:
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "what bermd says here is in src/link/options.h");
    }
}

static int check(const struct link_options *o, struct berm_error *err)
{
    if (o->wire < 0)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "--wire is missing: bermd starts this program");
    if (o->listens && (o->tcp < 0 || !o->certificate || !o->key))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "listen needs --tcp, --certificate and --key");
    if (!o->listens && (!o->host || o->port == 0))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "dial needs --host and --port");
    if (!o->listens && (o->host[0] == '\0' || strlen(o->host) > HOST_MAX))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "--host is no name");
    return 0;
}

int link_options_parse(int argc, char **argv, struct link_options *ret, struct berm_error *err)
{
    int option;

    *ret = (struct link_options){ .wire = -1, .tcp = -1, .udp = -1 };
    if (argc < 2 || (strcmp(argv[1], "dial") != 0 && strcmp(argv[1], "listen") != 0))
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "berm-link dial ... or berm-link listen ...");
    ret->listens = strcmp(argv[1], "listen") == 0;
    opterr = 0;
    optind = 2;
    while ((option = getopt_long(argc, argv, "", ret->listens ? listen_options : dial_options, NULL)) != -1)
        if (take(option, ret, err) < 0)
            return -1;
    if (optind != argc)
        return berm_fail(err, BERM_E_INVALID_REQUEST, 0, "%s is not expected here", argv[optind]);
    return check(ret, err);
}
