/* TLS of the server: with bytes that come one at a time, clients that do not read, and those that never begin. */
#include "server_fixture.h"

#include "net/tls.h"

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>

static struct tls *tls;
static SSL_CTX *client_context;
static SSL *client; /* over memory, so that the test decides which bytes travel when */

/* --- a certificate --- */

static void write_certificate(const char *file)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = X509_new();
    FILE *out = fopen(file, "we");

    assert_non_null(out);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), 0);
    X509_gmtime_adj(X509_getm_notAfter(x509), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC, (const unsigned char *)"t", -1, -1,
                               0);
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    X509_set_pubkey(x509, key);
    assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509(out, x509), 1);
    assert_int_equal(PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(out);
    X509_free(x509);
    EVP_PKEY_free(key);
}

static void make_tls(void)
{
    char file[] = "/tmp/berm-tls-XXXXXX";
    int fd = mkostemp(file, O_CLOEXEC);
    struct tls_files files = { file, NULL };
    struct berm_error err = { 0 };

    assert_true(fd >= 0);
    write_certificate(file);
    tls = tls_new(&files, 1, &err);
    assert_string_equal(err.message, "");
    assert_non_null(tls);
    unlink(file);
    close(fd);
}

static int setup_tls(void **state)
{
    struct berm_error err;
    int listener, fd;

    signal(SIGPIPE, SIG_IGN);
    if (setup(state) < 0)
        return -1;
    peer_close(&peer);
    WAIT_FOR(stats().connections_open == 0);
    make_tls();
    listener = tcp_listen("127.0.0.1:0", &err);
    assert_true(listener >= 0);
    fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    {
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);

        getsockname(listener, (struct sockaddr *)&address, &len);
        assert_int_equal(connect(fd, (struct sockaddr *)&address, len), 0);
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    peer_init(&peer, fd);
    assert_int_equal(http_server_listen_tls(server, listener, tls), 0);
    client_context = SSL_CTX_new(TLS_client_method());
    client = SSL_new(client_context);
    SSL_set_connect_state(client);
    SSL_set_bio(client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    return 0;
}

static int setup_hasty(void **state)
{
    http_limits_default(&limits);
    limits.head_timeout_ms = 50;
    return setup_tls(state);
}

static int teardown_tls(void **state)
{
    SSL_free(client);
    SSL_CTX_free(client_context);
    teardown(state);
    tls_free(tls);
    return 0;
}

/* --- the client --- */

/* What the client wants to send goes out in pieces of `step` bytes. */
static void push(size_t step)
{
    char *bytes;
    long n = BIO_get_mem_data(SSL_get_wbio(client), &bytes);

    for (long at = 0; at < n; at += (long)step)
        peer_send(&peer, (struct str){ bytes + at, (size_t)MIN((long)step, n - at) });
    (void)BIO_reset(SSL_get_wbio(client));
}

static void pull(void)
{
    peer_receive(&peer, 65536);
    BIO_write(SSL_get_rbio(client), buf_head(&peer.in), (int)peer.in.len);
    buf_clear(&peer.in);
}

static void shake_hands(size_t step)
{
    while (SSL_do_handshake(client) != 1) {
        push(step);
        turn();
        pull();
    }
    push(step);
}

static void request(const void *p, size_t n, size_t step)
{
    size_t written;

    for (size_t at = 0; at < n; at += written)
        assert_int_equal(SSL_write_ex(client, (const char *)p + at, n - at, &written), 1);
    push(step);
}

/* Plain bytes until there are `n`. */
static void take(char *out, size_t n)
{
    size_t got = 0, part;

    while (got < n) {
        if (SSL_read_ex(client, out + got, n - got, &part) == 1) {
            got += part;
            continue;
        }
        turn();
        pull();
    }
}

static struct str take_head(void)
{
    static char head[1000];
    size_t n = 0;

    while (n < 4 || memcmp(head + n - 4, "\r\n\r\n", 4)) {
        assert_true(n < sizeof(head));
        take(head + n++, 1);
    }
    return (struct str){ head, n };
}

/* --- the tests --- */

static void bytes_may_come_one_at_a_time(void **state)
{
    static const char text[] = REQUEST("POST /echo", "Content-Length: 5\r\n") "12345" REQUEST("GET /chunked", "");
    char body[5];

    (void)state;
    shake_hands(1);
    request(text, sizeof(text) - 1, 1);
    assert_contains(take_head(), "HTTP/1.1 200");
    take(body, 5);
    assert_memory_equal(body, "12345", 5);
    assert_contains(take_head(), "chunked");
}

/* Its last bytes wait in OpenSSL, where no event tells of them, while the body is collected to its exact length. */
static void a_record_that_is_read_in_part_is_not_forgotten(void **state)
{
    static char body[100003];
    static char got[sizeof(body)];
    char head[100];
    int n =
        snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n", sizeof(body));

    (void)state;
    fill_pattern(body, sizeof(body), 0);
    shake_hands(65536);
    for (int i = 0; i < 3; i++) {
        request(head, (size_t)n, 65536);
        request(body, sizeof(body), 65536);
        request(REQUEST("GET /hello", ""), sizeof(REQUEST("GET /hello", "")) - 1, 65536);
        assert_contains(take_head(), "HTTP/1.1 200");
        take(got, sizeof(got));
        assert_memory_equal(got, body, sizeof(body));
        assert_contains(take_head(), "HTTP/1.1 200");
        take(got, 5);
        assert_memory_equal(got, "hello", 5);
    }
}

static void a_paused_body_goes_on_where_it_stopped(void **state)
{
    static char body[3 << 20];
    char head[] = "POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 3145728\r\n\r\n";
    size_t n, at = 0;
    char *bytes;

    (void)state;
    fill_pattern(body, sizeof(body), 0);
    shake_hands(65536);
    request(head, sizeof(head) - 1, 65536);
    WAIT_FOR(seen.held);
    while (at < sizeof(body)) {
        size_t written;

        assert_int_equal(SSL_write_ex(client, body + at, sizeof(body) - at, &written), 1);
        at += written;
    }
    n = (size_t)BIO_get_mem_data(SSL_get_wbio(client), &bytes);
    at = 0;
    for (int idle = 0; idle < 100; turn()) {
        ssize_t sent = send(peer.fd, bytes + at, n - at, MSG_NOSIGNAL);

        idle = sent > 0 ? 0 : idle + 1;
        at += sent > 0 ? (size_t)sent : 0;
    }
    assert_int_equal(seen.body, 0);
    http_body_resume(seen.held);
    peer_send(&peer, (struct str){ bytes + at, n - at });
    assert_contains(take_head(), "HTTP/1.1 200");
    assert_int_equal(seen.body, sizeof(body));
    assert_false(seen.body_bad);
}

static void a_client_that_does_not_read_gets_all_of_it_later(void **state)
{
    static char got[50000];
    uint64_t at = 0;

    (void)state;
    seen.to_write = 20000000;
    shake_hands(65536);
    request(REQUEST("GET /big", ""), sizeof(REQUEST("GET /big", "")) - 1, 65536);
    let_things_happen();
    assert_true(seen.written < 8 << 20);
    assert_true(seen.queued_max <= limits.high_water + 50000);
    take_head();
    for (; at < seen.to_write; at += sizeof(got)) {
        take(got, sizeof(got));
        assert_true(is_pattern((struct str){ got, sizeof(got) }, at));
    }
}

static void files_are_sent_in_order_with_the_rest(void **state)
{
    static char got[1000005];

    (void)state;
    shake_hands(65536);
    request(REQUEST("GET /file", ""), sizeof(REQUEST("GET /file", "")) - 1, 65536);
    assert_contains(take_head(), "Content-Length: 1000005");
    take(got, sizeof(got));
    assert_memory_equal(got, "<<", 2);
    assert_true(is_pattern((struct str){ got + 2, 1000000 }, 500000));
    assert_memory_equal(got + 1000002, ">>>", 3);
}

/* HTTP/1.0 ends a body with the connection: only the words of TLS tell whether it is all. */
static void an_end_and_a_break_can_be_told_apart(void **state)
{
    char body[11], more;
    size_t n;

    (void)state;
    shake_hands(65536);
    request("GET /chunked HTTP/1.0\r\n\r\n", 25, 65536);
    take_head();
    take(body, sizeof(body));
    WAIT_FOR(peer_sees_end(&peer));
    pull();
    assert_int_equal(SSL_read_ex(client, &more, 1, &n), 0);
    assert_int_equal(SSL_get_shutdown(client) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
}

static void a_broken_body_is_not_ended_in_order(void **state)
{
    char more;
    size_t n;

    (void)state;
    shake_hands(65536);
    request("GET /abort HTTP/1.0\r\n\r\n", 23, 65536);
    WAIT_FOR(peer_sees_end(&peer));
    pull();
    while (SSL_read_ex(client, &more, 1, &n) == 1)
        ;
    assert_int_equal(SSL_get_shutdown(client) & SSL_RECEIVED_SHUTDOWN, 0);
}

static void a_handshake_that_does_not_end_is_given_up(void **state)
{
    (void)state;
    WAIT_FOR(stats().connections_open == 1);
    peer_send(&peer, (struct str){ "\x16\x03\x01", 3 });
    expect_closed();
    assert_int_equal(stats().timeouts_total, 1);
    assert_int_equal(seen.requests, 0);
}

static void draining_ends_handshakes(void **state)
{
    (void)state;
    peer_send(&peer, (struct str){ "\x16\x03\x01", 3 });
    WAIT_FOR(stats().connections_open == 1);
    http_server_drain(server, NULL, NULL);
    expect_closed();
}

static void plain_text_is_told_so(void **state)
{
    (void)state;
    send_text(REQUEST("GET /hello", ""));
    expect_response("HTTP/1.1 400", "Connection: close",
                    "{\"status\":400,\"reason\":\"This port takes HTTPS only\"}");
    assert_int_equal(seen.requests, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bytes_may_come_one_at_a_time, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(a_record_that_is_read_in_part_is_not_forgotten, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(a_paused_body_goes_on_where_it_stopped, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_gets_all_of_it_later, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(files_are_sent_in_order_with_the_rest, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(an_end_and_a_break_can_be_told_apart, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(a_broken_body_is_not_ended_in_order, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(a_handshake_that_does_not_end_is_given_up, setup_hasty, teardown_tls),
        cmocka_unit_test_setup_teardown(draining_ends_handshakes, setup_tls, teardown_tls),
        cmocka_unit_test_setup_teardown(plain_text_is_told_so, setup_tls, teardown_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
