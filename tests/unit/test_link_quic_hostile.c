/* QUIC links: certificates that are wrong, peers that are silent or were started again, packets from anybody. */
#include "quic_fixture.h"

static int setup_relayed(void **state)
{
    setup(state);
    relay_start();
    return 0;
}

static int teardown_relayed(void **state)
{
    relay_stop();
    return teardown(state);
}

/* A dial that has to fail, and why. */
static void assert_dial_fails(const struct link_address *address, const char *host, enum link_reason reason,
                              const char *words)
{
    unsigned before = dialler.downs, ups = listener.ups;

    assert_non_null(dial_as(address, host));
    WAIT_FOR(dialler.downs > before);
    assert_int_equal(dialler.reason, reason);
    if (!strstr(dialler.text, words))
        fail_msg("\"%s\" does not say \"%s\"", dialler.text, words);
    let_things_happen();
    assert_int_equal(listener.ups, ups);
    assert_int_equal(dialler.ups, 0);
}

/* SIGHUP, after a new certificate for `name` that is good for so many seconds. */
static void renew(const char *name, int seconds)
{
    struct credentials *before = listener.core.credentials;

    authority_issue(&authority, name, seconds, file_named("edge"));
    listener.core.credentials = listener_credentials();
    credentials_unref(before);
}

/* --- who it is --- */

static void test_the_certificate_has_to_be_for_the_name(void **state)
{
    (void)state;
    assert_dial_fails(&listener_address, "other.test", LINK_UNTRUSTED, "name");
    assert_dial_fails(&listener_address, "127.0.0.2", LINK_UNTRUSTED, "name");
}

static void test_an_address_is_a_name_too(void **state)
{
    (void)state;
    renew("127.0.0.1", 3600);
    assert_non_null(dial_as(&listener_address, "127.0.0.1"));
    WAIT_FOR(dialler.ups == 1 && listener.ups == 1);
}

static void test_the_certificate_has_to_be_of_the_authority(void **state)
{
    struct credentials *before = dialler.core.credentials;
    struct berm_error err = { 0 };
    struct authority other;

    (void)state;
    authority_new(&other, file_named("authority.crt"));
    authority_free(&other);
    dialler.core.credentials = credentials_for_dialling(file_named("authority.crt"), &err);
    assert_non_null(dialler.core.credentials);
    assert_dial_fails(&listener_address, "edge.test", LINK_UNTRUSTED, "NOT trusted");
    credentials_unref(before);
}

static void test_an_expired_certificate_is_refused_and_a_new_one_read(void **state)
{
    (void)state;
    renew("edge.test", -3600);
    assert_dial_fails(&listener_address, "edge.test", LINK_UNTRUSTED, "expired");
    renew("edge.test", 3600);
    connect_ends(&listener_address);
}

static void test_another_protocol_is_refused(void **state)
{
    gnutls_datum_t other = { (unsigned char *)(uintptr_t) "h3", 2 };
    struct link *link = dial_as(&listener_address, "edge.test");

    (void)state;
    assert_non_null(link);
    gnutls_alpn_set_protocols(quic_link_of(link)->session, &other, 1, 0);
    WAIT_FOR(dialler.downs == 1);
    assert_int_equal(dialler.reason, LINK_PROTOCOL);
    assert_int_equal(listener.ups, 0);
    connect_ends(&listener_address);
}

/* It answers from the address that was asked, of either family. */
static void test_a_listener_at_any_address_serves_both_families(void **state)
{
    struct link_address any = { .v6 = { .sin6_family = AF_INET6 }, .len = sizeof(any.v6) };
    struct link_address two = { .v4 = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr("127.0.0.2") },
                                .len = sizeof(two.v4) };
    struct link_address six = { .v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT },
                                .len = sizeof(six.v6) };
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct quic_listener *both;

    (void)state;
    if (fd < 0 || bind(fd, &six.any, six.len) < 0) {
        close_fd(&fd);
        skip();
    }
    close(fd);
    fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 0 }, sizeof(int)), 0);
    assert_int_equal(bind(fd, &any.any, any.len), 0);
    assert_int_equal(getsockname(fd, &any.any, &any.len), 0);
    both = quic_listen(&listener.core, fd);
    assert_non_null(both);
    two.v4.sin_port = six.v6.sin6_port = any.v6.sin6_port;
    connect_ends(&two);
    assert_int_equal(strncmp(listener.up.text, "127.0.0.1:", 10), 0);
    connect_ends(&six);
    assert_int_equal(strncmp(listener.up.text, "[::1]:", 6), 0);
    while (listener.core.links)
        core_close(listener.core.links, LINK_CLOSED, "the test is over");
    turn();
    turn();
    quic_listener_free(both);
}

/* --- nobody --- */

static void test_where_nobody_listens_a_dial_fails_at_once(void **state)
{
    struct link_address nowhere = loopback();

    (void)state;
    close(udp_bind(&nowhere));
    assert_dial_fails(&nowhere, "edge.test", LINK_UNREACHABLE, "nobody"); /* not: "no answer" */
}

/* Both at once, as each takes its whole time. */
static void test_silence_ends_dials_and_links(void **state)
{
    struct link_address mute = loopback();
    int fd = udp_bind(&mute);

    (void)state;
    connect_ends(&relay.address);
    relay.silent = true;
    assert_non_null(dial_as(&mute, "edge.test"));
    WAIT_FOR(dialler.downs == 2 && listener.downs == 1);
    assert_int_equal(dialler.reasons, 1u << LINK_LOST | 1u << LINK_UNREACHABLE);
    assert_int_equal(listener.reason, LINK_LOST);
    close(fd);
}

/* It has the same key, so it can say that it does not know the link: nobody has to wait for silence. */
static void test_a_listener_that_was_started_again_says_so(void **state)
{
    int far, near;

    (void)state;
    connect_ends(&relay.address);
    near = open_pair(&far);
    /* Killed: nothing is said. */
    relay.silent = true;
    stop_listener();
    start_listener();
    relay_rebind();
    relay.silent = false;
    assert_int_equal(write(far, "are you there", 13), 13);
    WAIT_FOR(dialler.downs == 1);
    assert_int_equal(dialler.reason, LINK_LOST);
    assert_string_equal(dialler.text, "the far side does not know this link any more"); /* it was no silence */
    close(near);
    close(far);
    connect_ends(&relay.address);
}

/* --- anybody --- */

static void throw_at_listener(int fd, const void *p, size_t n)
{
    sendto(fd, p, n, 0, &listener_address.any, listener_address.len);
    turn();
}

static void test_garbage_changes_nothing(void **state)
{
    struct link_address me = loopback();
    int fd = udp_bind(&me), far, near;
    uint8_t p[1500];
    size_t sent = 0, got = 0;
    ssize_t n;

    (void)state;
    connect_ends(&listener_address);
    near = open_pair(&far);
    for (int i = 0; i < 2000; i++) {
        size_t size = 1 + (size_t)i * 7 % sizeof(p);
        random_bytes(p, size);
        if (i % 3 == 0)
            memcpy(p, "\xc0\0\0\0\1\x10", MIN((size_t)6, size)); /* an Initial of version 1 */
        throw_at_listener(fd, p, size);
        sent += size;
    }
    let_things_happen();
    while ((n = recv(fd, p, sizeof(p), MSG_DONTWAIT)) > 0)
        got += (size_t)n;
    assert_true(got < sent);
    assert_int_equal(write(near, "x", 1), 1);
    WAIT_FOR(read(far, p, 1) == 1);
    assert_int_equal(listener.core.link_count - listener.core.handshakes, 1);
    close(near);
    close(far);
    close(fd);
}

static void test_an_unknown_version_is_answered_with_ours(void **state)
{
    struct link_address me = loopback();
    int fd = udp_bind(&me);
    uint8_t p[1200] = "\xc0\xfa\xce\xb0\x0c\x08"
                      "dcid1234"
                      "\x04"
                      "scid",
            answer[1500];
    ssize_t n;

    (void)state;
    throw_at_listener(fd, p, sizeof(p));
    WAIT_FOR((n = recv(fd, answer, sizeof(answer), MSG_DONTWAIT)) > 0);
    /* Version 0, the ids changed round, and version 1. */
    assert_int_equal(n, 1 + 4 + 1 + 4 + 1 + 8 + 4);
    assert_memory_equal(answer + 1,
                        "\0\0\0\0\4scid\x08"
                        "dcid1234\0\0\0\1",
                        22);
    throw_at_listener(fd, p, 1199); /* too small to be a client's */
    throw_at_listener(fd, answer, (size_t)n);
    let_things_happen();
    assert_int_equal(recv(fd, answer, sizeof(answer), MSG_DONTWAIT), -1);
    close(fd);
}

/* A client's first packet under somebody else's address: that one gets at most three times as much, ever. */
static void test_a_forged_address_is_not_flooded(void **state)
{
    struct link_address victim = loopback();
    int fd = udp_bind(&victim);
    uint8_t p[1500];
    size_t got = 0;
    ssize_t n;

    (void)state;
    relay.silent = true;
    assert_non_null(dial_as(&relay.address, "edge.test"));
    WAIT_FOR(relay.first_size > 0);
    throw_at_listener(fd, relay.first, (size_t)relay.first_size);
    WAIT_FOR(listener.core.handshakes == 1);
    let_time_pass(1500);
    while ((n = recv(fd, p, sizeof(p), MSG_DONTWAIT)) > 0)
        got += (size_t)n;
    assert_true(got > 0);
    assert_true(got <= 3 * (size_t)relay.first_size);
    close(fd);
}

static void test_a_busy_listener_has_addresses_proven_first(void **state)
{
    unsigned retries;
    int far, near;

    (void)state;
    listener.core.handshakes += 100;
    connect_ends(&relay.address);
    retries = relay.retries;
    assert_true(retries > 0); /* more than one where the dialler has grown impatient */
    /* The dialler has got a token for the next time, with which it need not: before the bytes of any stream. */
    near = open_pair(&far);
    connect_ends(&relay.address);
    assert_int_equal(relay.retries, retries);
    close(near);
    close(far);
    listener.core.handshakes -= 100;
}

static void test_a_full_listener_refuses_whose_address_is_proven(void **state)
{
    int far, near;

    (void)state;
    listener.core.handshakes += 100;
    connect_ends(&relay.address);
    near = open_pair(&far);
    listener.core.handshakes += 100000;
    assert_non_null(dial_as(&relay.address, "edge.test"));
    WAIT_FOR(dialler.downs == 1);
    assert_int_equal(dialler.reason, LINK_UNREACHABLE);
    listener.core.handshakes -= 100100;
    close(near);
    close(far);
}

/* A packet of the link that somebody else sends again from elsewhere moves nothing. */
static void test_a_repeated_packet_moves_no_link(void **state)
{
    struct link_address me = loopback();
    int fd = udp_bind(&me), far, near;
    char byte;

    (void)state;
    connect_ends(&relay.address);
    near = open_pair(&far);
    relay.first_size = 0;
    assert_int_equal(write(far, "y", 1), 1);
    WAIT_FOR(read(near, &byte, 1) == 1);
    assert_true(relay.first_size > 0);
    for (int i = 0; i < 20; i++)
        throw_at_listener(fd, relay.first, (size_t)relay.first_size);
    assert_int_equal(write(near, "z", 1), 1);
    WAIT_FOR(read(far, &byte, 1) == 1);
    assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
    close(near);
    close(far);
    close(fd);
}

/* --- streams that are taken back --- */

/* Lost before: from now on one a millisecond is forgiven. */
static struct giving *lose_all_but(int n)
{
    struct giving *giving = &dialler.link->giving;

    giving->forgiven_ms = loop_now_ms(loop);
    giving->lost_milli = (uint64_t)(LINK_STREAMS_MAX - n) * 1000;
    return giving;
}

static void test_a_stream_is_lost_only_without_an_answer(void **state)
{
    struct giving *giving;
    int far, near;

    (void)state;
    connect_ends(&listener_address);
    giving = lose_all_but(LINK_STREAMS_MAX);
    near = open_pair(&far);
    assert_int_equal(giving->unanswered, 1);
    assert_int_equal(write(far, "a", 1), 1);
    WAIT_FOR(giving->unanswered == 0);
    close(near);
    WAIT_FOR(dialler.link->stream_count == 0 || (close_fd(&far), false));
    assert_int_equal(giving->resets_milli, 0);
    near = open_pair(&far);
    close(near);
    WAIT_FOR(giving->unanswered == 0);
    assert_int_equal(giving->resets_milli, 1000);
    assert_int_equal(giving->lost_milli, 1000);
    close(far);
}

static void test_after_many_were_lost_streams_wait_for_their_turn(void **state)
{
    static char sent[20000], got[sizeof(sent)];
    unsigned before;
    size_t n = 0;
    int near, gone;
    ssize_t part;

    (void)state;
    connect_ends(&listener_address);
    before = dialler.stream_count;
    lose_all_but(-3000); /* three seconds, so that a busy machine gets to its look before they are over */
    gone = open_stream();
    assert_int_equal(write(gone, "!", 1), 1);
    near = open_stream();
    random_bytes(sent, sizeof(sent));
    assert_int_equal(write(near, sent, sizeof(sent)), sizeof(sent));
    shutdown(near, SHUT_WR);
    WAIT_FOR(dialler.link->stream_count == 2);
    close(gone);
    let_time_pass(50);
    assert_int_equal(dialler.stream_count, before);
    WAIT_FOR(dialler.stream_count > before);
    while (n < sizeof(sent)) {
        WAIT_FOR((part = read(dialler.streams[before], got + n, sizeof(got) - n)) > 0);
        n += (size_t)part;
    }
    assert_memory_equal(sent, got, sizeof(sent));
    WAIT_FOR(read(dialler.streams[before], got, 1) == 0);
    assert_int_equal(write(dialler.streams[before], "b", 1), 1);
    WAIT_FOR(read(near, got, 1) == 1);
    assert_int_equal(dialler.stream_count, before + 1); /* the one that was gone never came */
    close(near);
}

static void test_taking_back_without_end_ends_the_link(void **state)
{
    struct giving *giving;

    (void)state;
    connect_ends(&listener_address);
    giving = lose_all_but(-1000000);
    giving->resets_milli = (uint64_t)1000 << 26;
    close(open_stream());
    WAIT_FOR(dialler.downs == 1 && listener.downs == 1);
    assert_int_equal(dialler.reasons | listener.reasons, 1u << LINK_PROTOCOL);
    assert_string_equal(dialler.text, "streams are begun and taken back without end");
    connect_ends(&listener_address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define PLAIN(name)   cmocka_unit_test_setup_teardown(name, setup, teardown)
#define RELAYED(name) cmocka_unit_test_setup_teardown(name, setup_relayed, teardown_relayed)
        PLAIN(test_the_certificate_has_to_be_for_the_name),
        PLAIN(test_an_address_is_a_name_too),
        PLAIN(test_the_certificate_has_to_be_of_the_authority),
        PLAIN(test_an_expired_certificate_is_refused_and_a_new_one_read),
        PLAIN(test_another_protocol_is_refused),
        PLAIN(test_a_listener_at_any_address_serves_both_families),
        PLAIN(test_where_nobody_listens_a_dial_fails_at_once),
        RELAYED(test_silence_ends_dials_and_links),
        RELAYED(test_a_listener_that_was_started_again_says_so),
        PLAIN(test_garbage_changes_nothing),
        PLAIN(test_an_unknown_version_is_answered_with_ours),
        RELAYED(test_a_forged_address_is_not_flooded),
        RELAYED(test_a_busy_listener_has_addresses_proven_first),
        RELAYED(test_a_full_listener_refuses_whose_address_is_proven),
        RELAYED(test_a_repeated_packet_moves_no_link),
        PLAIN(test_a_stream_is_lost_only_without_an_answer),
        PLAIN(test_after_many_were_lost_streams_wait_for_their_turn),
        PLAIN(test_taking_back_without_end_ends_the_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
