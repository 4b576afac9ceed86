/*
 * fuzz_link_quic.c - packets from anybody to a QUIC listener that has a link. An input is a list of them, each kind
 * and length, one byte each, and as many bytes. What is wanted: nothing of it ends the link, or is answered with
 * more bytes than it had.
 *
 *   kind & 1   it has the link's connection id, as somebody on the way would know
 *   kind & 2   it is filled up to the size of a client's first packet
 *   kind & 4   a turn of the loop follows
 */
#include "base/loop.h"
#include "base/sys.h"
#include "link/quic.h"

#include <arpa/inet.h>
#include <gnutls/x509.h>
#include <signal.h>

static struct loop *loop;
static struct core edge, home;
static struct link_table edge_table, home_table;
static struct link_address at = { .v4.sin_family = AF_INET, .len = sizeof(struct sockaddr_in) };
static struct quic_link *up;
static int stranger;

static void need(bool ok)
{
    if (!ok)
        abort();
}

static void stop_turn(struct loop_deferred *deferred)
{
    (void)deferred;
    loop_stop(loop);
}

static void turn(void)
{
    static struct loop_deferred stop = { .callback = stop_turn };

    loop_defer(loop, &stop);
    need(loop_run(loop) == 0);
}

static void on_up(struct core *core, struct link *link, enum link_transport transport)
{
    (void)transport;
    if (core == &edge)
        up = quic_link_of(link);
}

/* A fuzzer that was stopped for seconds finds the link lost, and makes another. */
static uint32_t on_down(struct core *core, struct link *link, enum link_reason reason, const char *text)
{
    if (!up || (link != &up->link && core != &home))
        return 0;
    need(reason == LINK_LOST && strncmp(text, "nothing was heard", 17) == 0);
    up = NULL;
    return 0;
}

static const struct core_role role = { .on_up = on_up, .on_down = on_down };

/* Signed by itself, for the name "edge". */
static void make_certificate(struct credentials *credentials)
{
    gnutls_x509_privkey_t key;
    gnutls_x509_crt_t crt;

    gnutls_x509_privkey_init(&key);
    gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&crt);
    gnutls_x509_crt_set_version(crt, 3);
    gnutls_x509_crt_set_serial(crt, "\1", 1);
    gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60);
    gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 7 * 86400);
    gnutls_x509_crt_set_basic_constraints(crt, 1, -1);
    gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, "edge", 4, GNUTLS_FSAN_SET);
    gnutls_x509_crt_set_key(crt, key);
    need(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0) == 0);
    need(gnutls_certificate_set_x509_key(credentials->x509, &crt, 1, key) >= 0);
    need(gnutls_certificate_set_x509_trust(credentials->x509, &crt, 1) == 1);
    gnutls_x509_crt_deinit(crt);
    gnutls_x509_privkey_deinit(key);
}

static int bound(void)
{
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    need(bind(fd, (struct sockaddr *)&any, sizeof(any)) == 0);
    return fd;
}

static void start(struct core *core, struct link_table *table, struct credentials *credentials)
{
    int ends[2];

    need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    need(core_init(core, loop, ends[0], table, &role) == 0);
    core->credentials = credentials;
}

static void connect_ends(void)
{
    const struct link_target target = { .address = at, .host = "edge", .credentials = home.credentials };

    need(quic_dial(&home, &target) != NULL);
    while (!up)
        turn();
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct credentials *credentials = calloc(1, sizeof(*credentials));
    int fd = bound();

    (void)argc;
    (void)argv;
    signal(SIGPIPE, SIG_IGN);
    loop = loop_new();
    credentials->users = 3;
    gnutls_certificate_allocate_credentials(&credentials->x509);
    make_certificate(credentials);
    start(&edge, &edge_table, credentials);
    start(&home, &home_table, credentials);
    need(getsockname(fd, &at.any, &at.len) == 0);
    need(quic_listen(&edge, fd) != NULL);
    connect_ends();
    stranger = bound();
    return 0;
}

/* Without waiting: the answers to what was sent so far. */
static size_t answered(void)
{
    uint8_t p[2048];
    size_t got = 0;
    ssize_t n;

    while ((n = recv(stranger, p, sizeof(p), MSG_DONTWAIT)) > 0)
        got += (size_t)n;
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static size_t sent,
        got; /* of all inputs: on a busy machine what one sent may be delivered in the time of the next */
    const struct quic_cid *cid;

    if (!up)
        connect_ends();
    cid = container_of(up->cids.next, struct quic_cid, of_link);
    for (size_t i = 0; i + 2 <= size;) {
        uint8_t p[NGTCP2_MAX_UDP_PAYLOAD_SIZE] = { 0 };
        size_t n = MIN((size_t)data[i + 1], size - i - 2);
        uint8_t kind = data[i];

        memcpy(p, data + i + 2, n);
        i += 2 + n;
        if (kind & 2)
            n = sizeof(p);
        if ((kind & 1) && n > 6 + cid->cid.datalen)
            memcpy(p + ((p[0] & 0x80) ? 6 : 1), cid->cid.data, cid->cid.datalen);
        if (n > 0 && sendto(stranger, p, n, 0, &at.any, at.len) > 0)
            sent += n;
        if (kind & 4)
            turn();
        if (!up)
            return 0;
        got += answered();
    }
    turn();
    got += answered();
    need(got <= sent);
    return 0;
}
