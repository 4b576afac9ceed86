/* passages: connections that have left HTTP are counted, of all and of one client, until they end. */
#include "net/passages.h"

#include "base/sys.h"
#include "net/server.h"
#include "unit.h"

#include <sys/socket.h>

#define V4(a, b, c, d)                                                                                             \
    {                                                                                                              \
        [10] = 0xff, [11] = 0xff, a, b, c, d                                                                       \
    }

static const uint8_t one[16] = V4(203, 0, 113, 7), two[16] = V4(203, 0, 113, 8), local[16] = V4(127, 0, 0, 1);
static const uint8_t six[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1 };
static const uint8_t six_beside[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9 };
static const uint8_t six_other[16] = { 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1 };
static const uint8_t local6[16] = { [15] = 1 };

struct fixture {
    struct loop *loop;
    struct passages passages;
    int client, server; /* our ends of the last one */
    unsigned ended;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    f->loop = loop_new();
    f->client = f->server = -EBADF;
    passages_init(&f->passages, 4, 2);
    *state = f;
    return f->loop ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    passages_free(&f->passages);
    close_fd(&f->client);
    close_fd(&f->server);
    loop_free(f->loop);
    free(f);
    return 0;
}

static void on_end(void *data)
{
    struct fixture *f = data;

    f->ended++;
    loop_stop(f->loop);
}

static void join(struct fixture *f, const uint8_t *address, const char *from_client)
{
    int client[2], server[2];
    struct passage_ends ends = { .from_client = str_from(from_client), .on_end = on_end, .data = f };

    memcpy(ends.address, address, sizeof(ends.address));
    close_fd(&f->client);
    close_fd(&f->server);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, client), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, server), 0);
    f->client = client[0];
    f->server = server[0];
    ends.client = client[1];
    ends.server = server[1];
    assert_int_equal(passages_join(&f->passages, f->loop, &ends), 0);
}

static void addresses_are_of_one_client_by_their_network(void **state)
{
    (void)state;
    assert_true(http_same_client(one, one));
    assert_false(http_same_client(one, two));
    assert_true(http_same_client(six, six_beside));
    assert_false(http_same_client(six, six_other));
    assert_false(http_same_client(six, one));
    assert_false(http_same_client(local, local));
    assert_false(http_same_client(local6, local6));
}

static void one_client_has_so_many_and_others_have_theirs(void **state)
{
    struct fixture *f = *state;

    join(f, one, "");
    assert_false(passages_full(&f->passages, one));
    join(f, one, "");
    assert_true(passages_full(&f->passages, one));
    assert_false(passages_full(&f->passages, two));
    assert_false(passages_full(&f->passages, six));
    assert_false(passages_full(&f->passages, local));
    assert_false(passages_full(&f->passages, NULL));
}

static void all_together_have_an_end_for_everybody(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < 4; i++) {
        assert_false(passages_full(&f->passages, local));
        join(f, local, "");
    }
    assert_true(passages_full(&f->passages, local));
    assert_true(passages_full(&f->passages, one));
    assert_true(passages_full(&f->passages, NULL));
}

static void what_was_read_goes_first_and_the_end_makes_room(void **state)
{
    struct fixture *f = *state;
    char text[8] = "";

    join(f, one, "");
    join(f, one, "early");
    assert_true(passages_full(&f->passages, one));
    close_fd(&f->client);
    assert_int_equal(shutdown(f->server, SHUT_WR), 0);
    while (f->ended < 2) /* of the first one both our ends were closed before */
        assert_int_equal(loop_run(f->loop), 0);
    assert_int_equal(recv(f->server, text, sizeof(text), 0), 5);
    assert_string_equal(text, "early");
    assert_int_equal(f->passages.count, 0);
    assert_false(passages_full(&f->passages, one));
}

static void freeing_ends_all_of_them(void **state)
{
    struct fixture *f = *state;

    join(f, one, "");
    join(f, two, "");
    passages_free(&f->passages);
    assert_int_equal(f->ended, 2);
    assert_int_equal(f->passages.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_of_one_client_by_their_network),
        cmocka_unit_test_setup_teardown(one_client_has_so_many_and_others_have_theirs, setup, teardown),
        cmocka_unit_test_setup_teardown(all_together_have_an_end_for_everybody, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_read_goes_first_and_the_end_makes_room, setup, teardown),
        cmocka_unit_test_setup_teardown(freeing_ends_all_of_them, setup, teardown),
    };

    return cmocka_run_group_tests_name("passages", tests, NULL, NULL);
}
