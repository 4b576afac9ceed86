/* Names of daemons behind an edge, the keys they are known by, and the wire to berm-link. */
#include "base/sys.h"
#include "daemon/link/keys.h"
#include "daemon/link/strikes.h"
#include "daemon/link/wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

static void a_label_ends_at_the_last_hyphen(void **state)
{
    char name[LINK_NAME_MAX + 1];
    struct str label;

    (void)state;
    assert_int_equal(link_label_split(STR("8080-app-abc_1-home"), &label, name), 0);
    assert_true(str_is(label, "8080-app-abc_1"));
    assert_string_equal(name, "home");
    assert_int_equal(link_label_split(STR("x-HOME2"), &label, name), 0);
    assert_string_equal(name, "home2");
}

static void what_is_no_name_of_a_daemon_is_refused(void **state)
{
    static const char *const bad[] = { "",   "-",       "home",    "-home",
                                       "x-", "x-1home", "x-ho_me", "x-abcdefghijklmnopqrstu" };
    char name[LINK_NAME_MAX + 1];
    struct str label;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(link_label_split(str_from(bad[i]), &label, name), -1);
}

static void an_address_is_out_after_a_few_wrong_keys_and_in_again_later(void **state)
{
    static struct strikes strikes;

    (void)state;
    for (int i = 0; i < STRIKES_MAX; i++) {
        assert_false(strikes_out(&strikes, "192.0.2.1:1000", 5));
        strikes_add(&strikes, "192.0.2.1:1000", 5);
    }
    assert_true(strikes_out(&strikes, "192.0.2.1:2000", 6)); /* its port does not count */
    assert_false(strikes_out(&strikes, "192.0.2.1:2000", 5 + STRIKES_FOR_MS));
    for (int i = 0; i < STRIKES_MAX; i++)
        strikes_add(&strikes, "[2001:db8::1]:1000", 5);
    assert_true(strikes_out(&strikes, "[2001:db8::2]:1000", 6)); /* nor does what a host chooses itself */
}

/* --- keys --- */

static int load(struct link_keys *keys, const char *text)
{
    char path[] = "/tmp/link-keys-XXXXXX";
    struct berm_error err;
    int fd = mkstemp(path), rc;

    assert_true(fd >= 0);
    assert_int_equal(write_all(fd, text, strlen(text)), 0);
    close(fd);
    rc = link_keys_load(keys, path, &err);
    unlink(path);
    return rc;
}

static void a_daemon_is_known_by_its_key_and_called_what_the_file_says(void **state)
{
    struct link_keys keys = { 0 };
    const struct link_key *key;
    struct link_key old;

    (void)state;
    assert_int_equal(
        load(&keys, "# ours\nhome 0123456789abcdef\n\naway\tabcdef0123456789 \r\nhome fedcba9876543210\n"), 0);
    key = link_keys_find(&keys, STR("abcdef0123456789"));
    assert_non_null(key);
    assert_string_equal(key->name, "away");
    old = *key;
    assert_string_equal(link_keys_find(&keys, STR("fedcba9876543210"))->name, "home");
    assert_null(link_keys_find(&keys, STR("")));
    assert_null(link_keys_find(&keys, STR("0123456789abcdeF")));
    assert_int_equal(load(&keys, "home short\n"), -1); /* and what was there stays */
    assert_true(link_keys_have(&keys, &old) && link_keys_know_name(&keys, "away"));
    assert_int_equal(load(&keys, "away 00000000000000000\n"), 0);
    assert_false(link_keys_have(&keys, &old) || link_keys_know_name(&keys, "home"));
    assert_int_equal(load(&keys, "ho-me 0123456789abcdef\n"), -1);
    assert_int_equal(load(&keys, "0123456789abcdef\n"), -1);
    link_keys_free(&keys);
}

/* --- the wire --- */

struct wire_end {
    struct loop *loop;
    struct link_wire *wire;
    int far; /* berm-link's end */
    unsigned ups, downs, streams, lost;
};

static void on_up(uint32_t link, enum link_transport transport, const char *peer, void *data)
{
    struct wire_end *end = data;

    assert_int_equal(link, 7);
    assert_int_equal(transport, LINK_QUIC);
    assert_string_equal(peer, "192.0.2.1:4433");
    end->ups++;
    loop_stop(end->loop);
}

static void on_down(uint32_t link, enum link_reason reason, uint32_t retry_ms, const char *text, void *data)
{
    struct wire_end *end = data;

    (void)link, (void)reason, (void)retry_ms, (void)text;
    end->downs++;
    loop_stop(end->loop);
}

static void on_stream(uint32_t link, int fd, void *data)
{
    struct wire_end *end = data;

    assert_int_equal(link, 7);
    assert_true(fd >= 0);
    close(fd);
    end->streams++;
    loop_stop(end->loop);
}

static void on_draining(uint32_t link, void *data)
{
    (void)link, (void)data;
}

static void on_lost(void *data)
{
    struct wire_end *end = data;

    end->lost++;
    loop_stop(end->loop);
}

static void open_wire(struct wire_end *end, bool dials)
{
    const struct link_wire_events events = { .on_up = on_up,
                                             .on_down = on_down,
                                             .on_stream = on_stream,
                                             .on_draining = on_draining,
                                             .on_lost = on_lost,
                                             .dials = dials,
                                             .data = end };
    struct berm_error err;
    int pair[2];

    *end = (struct wire_end){ .loop = loop_new() };
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    end->wire = link_wire_new(end->loop, pair[0], &events, &err);
    assert_non_null(end->wire);
    end->far = pair[1];
}

static void close_wire(struct wire_end *end)
{
    link_wire_free(end->wire);
    loop_free(end->loop);
    close(end->far);
}

static const struct link_message up = {
    .version = LINK_WIRE_VERSION, .type = LINK_UP, .link = 7, .transport = LINK_QUIC, .text = "192.0.2.1:4433"
};

static void say(struct wire_end *end, const void *message, size_t n, const int *fd)
{
    assert_int_equal(send_fds(end->far, message, n, fd, fd ? 1 : 0), 0);
    loop_run(end->loop);
}

static void messages_of_the_wire_are_taken(void **state)
{
    struct link_message stream = { .version = LINK_WIRE_VERSION, .type = LINK_STREAM, .link = 7 }, got;
    struct wire_end end;
    int fd = -EBADF;
    size_t fds;

    (void)state;
    open_wire(&end, true);
    say(&end, &up, sizeof(up), NULL);
    say(&end, &stream, sizeof(stream), &end.far);
    assert_int_equal(end.ups, 1);
    assert_int_equal(end.streams, 1);
    assert_int_equal(link_wire_open(end.wire, 7, STDIN_FILENO), 0);
    assert_int_equal(recv_fds(end.far, &got, sizeof(got), &fd, 1, &fds), sizeof(got));
    assert_int_equal(got.type, LINK_OPEN);
    assert_int_equal(fds, 1);
    close(fd);
    close_wire(&end);
}

/* Each of them ends the wire. */
static void what_does_not_belong_there_ends_the_wire(void **state)
{
    struct link_message bad[9];
    struct wire_end end;

    (void)state;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        bad[i] = up;
    bad[0].version++;
    bad[1].type = LINK_OPEN;
    bad[2].link = 0;
    bad[3].transport = 9;
    bad[4].text[0] = '\n';
    memset(bad[5].text, 'a', sizeof(bad[5].text));
    bad[6].type = LINK_STREAM; /* not while listening, and without its socket */
    bad[7].type = LINK_DOWN;   /* without a reason */
    bad[8].type = 99;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        open_wire(&end, false);
        say(&end, &bad[i], sizeof(bad[i]), NULL);
        assert_int_equal(end.lost, 1);
        assert_int_equal(end.ups + end.downs + end.streams, 0);
        assert_int_equal(link_wire_close(end.wire, 7), -1);
        close_wire(&end);
    }
    open_wire(&end, true);
    say(&end, &up, sizeof(up), &end.far); /* a descriptor where none belongs */
    assert_int_equal(end.lost, 1);
    close_wire(&end);
    open_wire(&end, true);
    say(&end, &up, sizeof(up) - 1, NULL);
    assert_int_equal(end.lost, 1);
    close_wire(&end);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_ends_at_the_last_hyphen),
        cmocka_unit_test(what_is_no_name_of_a_daemon_is_refused),
        cmocka_unit_test(an_address_is_out_after_a_few_wrong_keys_and_in_again_later),
        cmocka_unit_test(a_daemon_is_known_by_its_key_and_called_what_the_file_says),
        cmocka_unit_test(messages_of_the_wire_are_taken),
        cmocka_unit_test(what_does_not_belong_there_ends_the_wire),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
