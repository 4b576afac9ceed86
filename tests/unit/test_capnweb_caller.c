/* This side as the one that calls, and two sessions of ours with each other. */
#include "capnweb_fixture.h"

#include <math.h>

static struct capnweb_key key(const char *name)
{
    return (struct capnweb_key){ .name = str_from(name) };
}

struct answer {
    bool there, ok;
    struct arena arena;
    struct capnweb_value value;
};

static void on_answer(struct capnweb_import *import, bool ok, const struct capnweb_value *value, void *data)
{
    struct answer *answer = data;

    assert_false(answer->there);
    answer->there = true;
    answer->ok = ok;
    arena_init(&answer->arena, 1 << 20);
    answer->value = capnweb_copy(&answer->arena, value);
    capnweb_import_unref(import);
}

static struct capnweb_import *start(struct side *side, struct capnweb_import *target, const char *method,
                                    const struct capnweb_value *args, size_t count)
{
    struct capnweb_key path = key(method);
    struct capnweb_import *result =
        capnweb_call_start(target ? target : capnweb_main(side->session), &path, 1, args, count);

    assert_non_null(result);
    return result;
}

static void a_call_sends_push_pull_and_release(void **state)
{
    struct side side;
    struct answer answer = { .there = false };
    struct capnweb_value args[] = {
        CAPNWEB_TEXT(STR("id")), CAPNWEB_NUMBER(8080), { .type = CAPNWEB_NULL }, CAPNWEB_TEXT(STR("run"))
    };

    (void)state;
    side_open(&side, NULL, NULL);
    capnweb_pull(start(&side, NULL, "onTunnelExit", args, 4), on_answer, &answer);
    side_play(&side, "< [\"push\",[\"pipeline\",0,[\"onTunnelExit\"],[\"id\",8080,null,\"run\"]]]\n< [\"pull\",1]\n"
                     "> [\"resolve\",1,[\"undefined\"]]\n< [\"release\",1,1]\n");
    assert_true(answer.there && answer.ok);
    assert_int_equal(answer.value.type, CAPNWEB_UNDEFINED);
    arena_free(&answer.arena);

    answer.there = false;
    capnweb_pull(start(&side, NULL, "x", args, 0), on_answer, &answer);
    side_play(&side, "< [\"push\",[\"pipeline\",0,[\"x\"],[]]]\n< [\"pull\",2]\n"
                     "> [\"reject\",2,[\"error\",\"Error\",\"m\",null,{\"code\":\"X\",\"details\":{\"a\":1}}]]\n"
                     "< [\"release\",2,1]\n");
    assert_true(answer.there && !answer.ok);
    assert_str(answer.value.error->message, STR("m"));
    assert_str(capnweb_get(&answer.value.error->props, "code")->string, STR("X"));
    arena_free(&answer.arena);
    side_expect_idle(&side);
    side_close(&side);
}

static void results_are_pipelined_and_abandoned(void **state)
{
    struct side side;
    struct answer answer = { .there = false };
    struct capnweb_value name = CAPNWEB_TEXT(STR("p")), five = CAPNWEB_NUMBER(5);
    struct capnweb_import *counter, *five_more;

    (void)state;
    side_open(&side, NULL, NULL);
    counter = start(&side, NULL, "makeCounter", &name, 1);
    five_more = start(&side, counter, "inc", &five, 1);
    capnweb_pull(five_more, on_answer, &answer);
    side_play(&side, "< [\"push\",[\"pipeline\",0,[\"makeCounter\"],[\"p\"]]]\n"
                     "< [\"push\",[\"pipeline\",1,[\"inc\"],[5]]]\n< [\"pull\",2]\n> [\"resolve\",2,5]\n"
                     "< [\"release\",2,1]\n");
    assert_true(answer.ok);
    assert_int_equal(answer.value.integer, 5);
    arena_free(&answer.arena);
    capnweb_import_unref(counter);
    side_play(&side, "< [\"release\",1,1]\n> [\"resolve\",1,[\"export\",-1]]\n< [\"release\",-1,1]\n");
    side_expect_idle(&side);
    side_close(&side);
}

static void a_promise_in_a_result_is_waited_for(void **state)
{
    struct side side;
    struct answer answer = { .there = false };

    (void)state;
    side_open(&side, NULL, NULL);
    capnweb_pull(start(&side, NULL, "take", NULL, 0), on_answer, &answer);
    side_play(
        &side,
        "< [\"push\",[\"pipeline\",0,[\"take\"]]]\n< [\"pull\",1]\n> [\"resolve\",1,{\"p\":[\"promise\",-1]}]\n"
        "< [\"release\",1,1]\n");
    assert_false(answer.there);
    side_play(&side, "> [\"resolve\",-1,\"svc\"]\n< [\"release\",-1,1]\n");
    assert_true(answer.there && answer.ok);
    assert_str(capnweb_get(&answer.value, "p")->string, STR("svc"));
    arena_free(&answer.arena);
    side_expect_idle(&side);
    side_close(&side);
}

static void everything_outstanding_fails_when_the_connection_is_lost(void **state)
{
    struct side side;
    struct answer answer = { .there = false };

    (void)state;
    side_open(&side, NULL, NULL);
    capnweb_pull(start(&side, NULL, "slow", NULL, 0), on_answer, &answer);
    capnweb_end(side.session, "Peer closed WebSocket: 1006 ");
    assert_false(answer.there);
    side_run(&side);
    assert_true(answer.there && !answer.ok);
    assert_str(answer.value.error->message, STR("Peer closed WebSocket: 1006 "));
    arena_free(&answer.arena);
    assert_null(capnweb_call_start(capnweb_main(side.session), NULL, 0, NULL, 0));
    side_close(&side);
}

/* --- two of ours --- */

static void exchange(struct side *a, struct side *b)
{
    while (a->sent.len + b->sent.len > 0 || a->woken || b->woken) {
        struct side *from = a->sent.len > 0 ? a : b, *to = from == a ? b : a;
        struct str all = buf_str(&from->sent);
        const char *end = all.n > 0 ? memchr(all.p, '\n', all.n) : NULL;
        if (end) {
            char *line = strndup(all.p, (size_t)(end - all.p));
            assert_non_null(line);
            buf_consume(&from->sent, (size_t)(end - all.p) + 1);
            side_receive(to, str_from(line));
            free(line);
        }
        for (int i = 0; i < 2; i++) {
            struct side *side = i ? a : b;
            if (side->woken) {
                side->woken = false;
                capnweb_run(side->session);
            }
        }
    }
}

static struct capnweb_value ask(struct side *a, struct side *b, const char *method,
                                const struct capnweb_value *args, size_t count, struct answer *answer)
{
    *answer = (struct answer){ .there = false };
    capnweb_pull(start(a, NULL, method, args, count), on_answer, answer);
    exchange(a, b);
    assert_true(answer->there);
    return answer->value;
}

static void function_call(struct capnweb_target *target, struct capnweb_call *call)
{
    (void)target;
    assert_int_equal(call->path_count, 0);
    assert_false(call->is_read);
    assert_str(capnweb_get(capnweb_arg(call, 0), "text")->string, STR("line0"));
    capnweb_resolve(call, CAPNWEB_NOTHING);
}

static void two_sessions_understand_each_other(void **state)
{
    static const struct capnweb_ops ops = { function_call, NULL };
    struct capnweb_target function = { &ops, 1 };
    struct side a, b;
    struct answer answer;
    struct capnweb_value items[] = { CAPNWEB_NOTHING,
                                     { .type = CAPNWEB_DOUBLE, .number = -INFINITY },
                                     { .type = CAPNWEB_DATE, .number = 5 },
                                     { .type = CAPNWEB_BYTES, .string = { "\0\xff", 2 } } };
    struct capnweb_value list = { .type = CAPNWEB_ARRAY, .array = { items, 4 } }, got;
    struct capnweb_value args[2];

    (void)state;
    side_open(&a, NULL, NULL);
    side_open(&b, NULL, service_main());
    got = ask(&a, &b, "echo", &list, 1, &answer);
    assert_int_equal(got.array.count, 4);
    assert_int_equal(got.array.items[0].type, CAPNWEB_UNDEFINED);
    assert_true(isinf(got.array.items[1].number) && got.array.items[1].number < 0);
    assert_int_equal(got.array.items[2].type, CAPNWEB_DATE);
    assert_str(got.array.items[3].string, (struct str){ "\0\xff", 2 });
    arena_free(&answer.arena);

    args[0] = CAPNWEB_OF_TARGET(&function);
    args[1] = CAPNWEB_NUMBER(1);
    got = ask(&a, &b, "callMe", args, 2, &answer);
    assert_str(got.string, STR("done"));
    arena_free(&answer.arena);
    assert_int_equal(function.refs, 1);
    side_expect_idle(&a);
    side_close(&a);
    side_close(&b);
}

struct source {
    size_t left;
    bool ended;
};

static void source_ready(struct capnweb_pipe *pipe, void *data)
{
    static char chunk[50000];
    struct source *source = data;
    bool room = true;

    while (room && source->left > 0) {
        size_t n = MIN(source->left, sizeof(chunk));
        source->left -= n;
        room = capnweb_pipe_write(pipe, chunk, n);
    }
    if (source->left == 0)
        capnweb_pipe_close(pipe);
}

static void source_end(struct capnweb_pipe *pipe, const struct capnweb_value *reason, void *data)
{
    struct source *source = data;

    (void)pipe;
    assert_null(reason);
    source->ended = true;
}

static void a_stream_of_ten_megabytes_arrives(void **state)
{
    static const struct capnweb_pipe_ops ops = { source_ready, source_end };
    struct source source = { (size_t)10 << 20, false };
    struct side a, b;
    struct answer answer;
    struct capnweb_value args[2] = { CAPNWEB_TEXT(STR("/f")) }, got;

    (void)state;
    side_open(&a, NULL, NULL);
    side_open(&b, NULL, service_main());
    args[1] = CAPNWEB_OF_PIPE(capnweb_pipe_new(a.session, &ops, &source));
    got = ask(&a, &b, "consume", args, 2, &answer);
    assert_int_equal(capnweb_get(&got, "bytesWritten")->integer, 10 << 20);
    assert_true(source.ended);
    arena_free(&answer.arena);
    side_expect_idle(&a);
    side_close(&a);
    side_close(&b);
}

static void values_become_plain_json(void **state)
{
    struct capnweb_member members[] = {
        { STR("none"), CAPNWEB_NOTHING },
        { STR("when"), { .type = CAPNWEB_DATE, .number = 1700000000123 } },
        { STR("before"), { .type = CAPNWEB_DATE, .number = -1 } },
        { STR("never"), { .type = CAPNWEB_DATE, .number = NAN } },
        { STR("big"), { .type = CAPNWEB_BIGINT, .string = STR("12345678901234567890") } },
        { STR("bytes"), { .type = CAPNWEB_BYTES, .string = STR("abcd") } },
    };
    struct capnweb_value value = { .type = CAPNWEB_OBJECT, .object = { members, ARRAY_SIZE(members) } };
    struct json_writer w;
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    json_writer_init(&w, &out);
    capnweb_write_json(&w, &value);
    assert_int_equal(json_writer_finish(&w), 0);
    assert_str(buf_str(&out),
               STR("{\"when\":\"2023-11-14T22:13:20.123Z\",\"before\":\"1969-12-31T23:59:59.999Z\",\"never\":null,"
                   "\"big\":1.2345678901234567e+19,\"bytes\":\"YWJjZA==\"}"));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_sends_push_pull_and_release),
        cmocka_unit_test(results_are_pipelined_and_abandoned),
        cmocka_unit_test(a_promise_in_a_result_is_waited_for),
        cmocka_unit_test(everything_outstanding_fails_when_the_connection_is_lost),
        cmocka_unit_test(two_sessions_understand_each_other),
        cmocka_unit_test(a_stream_of_ten_megabytes_arrives),
        cmocka_unit_test(values_become_plain_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
