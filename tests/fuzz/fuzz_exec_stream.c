/* fuzz_exec_stream.c - any bytes as the answer to a command, whole and in two pieces, which must not make a
 * difference. */
#include "client/exec_stream.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int append(void *data, const void *bytes, size_t n)
{
    return buf_append(data, bytes, n);
}

struct outcome {
    struct buf out;
    int rc, code;
    enum berm_problem_kind kind;
};

static void run(const uint8_t *data, size_t size, size_t cut, struct outcome *ret)
{
    struct berm_exec exec = { .on_stdout = append, .on_stderr = append, .data = &ret->out };
    struct berm_problem problem = { 0 };
    struct exec_stream stream;

    *ret = (struct outcome){ 0 };
    buf_init(&ret->out, size + 3);
    exec_stream_init(&stream, &exec);
    ret->rc = exec_stream_feed(&stream, (struct str){ (const char *)data, cut }, &problem);
    if (ret->rc == 0)
        ret->rc = exec_stream_feed(&stream, (struct str){ (const char *)data + cut, size - cut }, &problem);
    if (ret->rc == 0)
        ret->rc = exec_stream_result(&stream, &ret->code, &problem);
    assert((ret->rc == 0) == (problem.kind == BERM_PROBLEM_NONE));
    ret->kind = problem.kind;
    exec_stream_done(&stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct outcome whole, cut;

    run(data, size, 0, &whole);
    run(data, size, size > 0 ? data[0] % size : 0, &cut);
    assert(whole.rc == cut.rc && whole.code == cut.code && whole.kind == cut.kind);
    assert(str_eq(buf_str(&whole.out), buf_str(&cut.out)));
    buf_free(&whole.out);
    buf_free(&cut.out);
    return 0;
}
