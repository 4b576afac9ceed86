/* mcp.c - messages of the Model Context Protocol on their way to the daemon's /mcp. */
#include "client/stream.h"

#include <stdio.h>

/* A field may not hold what ends it: session and version come from another program. */
static bool is_field_text(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s <= 0x20 || (unsigned char)*s >= 0x7f)
            return false;
    return true;
}

static int fill_fields(const char *session, const char *version, char out[2][192], const char *fields[3],
                       struct berm_problem *problem)
{
    const char *values[] = { session, version };
    static const char *const names[] = { "Mcp-Session-Id", "Mcp-Protocol-Version" };
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
        if (!values[i])
            continue;
        if (!is_field_text(values[i]) ||
            (size_t)snprintf(out[n], sizeof(out[n]), "%s: %s", names[i], values[i]) >= sizeof(out[n]))
            return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "not a session or version");
        fields[n] = out[n];
        n++;
    }
    fields[n] = NULL;
    return 0;
}

int berm_mcp_send(struct berm_client *client, const char *session, const char *version, const char *message,
                  struct berm_stream **ret_stream, struct berm_problem *problem)
{
    struct stream_request request = { .kind = STREAM_MESSAGES, .method = "POST", .want_header = "Mcp-Session-Id" };
    _cleanup_(buf_free) struct buf body;
    const char *fields[3];
    char text[2][192];

    buf_init(&body, ANSWER_MAX);
    if (fill_fields(session, version, text, fields, problem) < 0)
        return -1;
    if (buf_append_str(&body, str_from(message)) < 0)
        return problem_set(problem, BERM_PROBLEM_ARGUMENT, 0, "the message is too large");
    request.target = strdup("/mcp");
    if (!request.target)
        return problem_memory(problem);
    request.body = &body;
    request.fields = fields;
    return stream_open(client, &request, ret_stream, problem);
}

int berm_mcp_end(struct berm_client *client, const char *session, struct berm_problem *problem)
{
    _cleanup_transfer_ struct transfer t = TRANSFER_INIT("DELETE", "/mcp");
    const char *fields[3];
    char text[2][192];

    if (fill_fields(session, NULL, text, fields, problem) < 0)
        return -1;
    t.fields = fields;
    return transfer_run(client, &t, problem);
}
