#include "command_input.h"

#include "agent/agent.h"
#include "agent/http/routes.h"

static void reply_taken(struct request *rq)
{
    http_respond(rq->ex, 200, "application/json", STR("{\"ok\":true}"));
}

/* The one who has written is gone, or has ended its part. */
static void writer_is_gone(struct agent *agent)
{
    agent->input.writer = NULL;
    if (agent->input.once && agent->supervised)
        child_close_stdin(agent->supervised);
}

void command_input_drained(struct agent *agent)
{
    if (agent->input.writer)
        http_body_resume(agent->input.writer->ex);
}

void command_input_end(struct agent *agent)
{
    struct request *writer = agent->input.writer;

    if (!writer)
        return;
    agent->input.writer = NULL;
    http_body_resume(writer->ex); /* what is left of the body is read and dropped */
    reply_taken(writer);
}

static void on_piece(struct request *rq, struct str piece)
{
    struct agent *agent = rq->agent;

    if (agent->input.writer == rq && !child_write(agent->supervised, piece.p, piece.n))
        http_body_pause(rq->ex);
}

static void on_body_end(struct request *rq)
{
    if (rq->agent->input.writer != rq)
        return;
    writer_is_gone(rq->agent);
    reply_taken(rq);
}

static void on_gone(struct request *rq, bool complete)
{
    (void)complete;
    if (rq->agent->input.writer == rq)
        writer_is_gone(rq->agent);
}

void handle_command_input(struct request *rq)
{
    struct agent *agent = rq->agent;

    if (!agent->input.open || !agent->supervised || agent->supervised->stdin_fd < 0) {
        reply_invalid(rq, "stdin", "is closed, or the command was not started with one", "NO_STDIN");
        return;
    }
    if (agent->input.writer) {
        reply_error(rq, AGENT_E_INTERNAL_ERROR, NULL, 0, "Somebody writes to the command's standard input already");
        return;
    }
    agent->input.writer = rq;
    http_body_unhurried(rq->ex);
    rq->on_piece = on_piece;
    rq->on_body_end = on_body_end;
    rq->on_gone = on_gone;
}
